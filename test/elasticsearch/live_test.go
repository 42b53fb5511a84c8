package elasticsearch_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden/collector/elasticsearch"
)

// Documents come in, some of them late, while the guard is killed and started again: what
// is counted less what is indexed is 0.
func TestCountedLessIndexedIsNothing(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		for name, c := range map[string]struct {
			shipper shipper
			index   string
			change  func(*elasticsearch.Settings)
		}{
			"by ingest time": {logstash, "kong-live-a", nil},
			"by event time":  {eventTimeOnly, "kong-live-b", nil},
			"buckets":        {logstash, "kong-live-c", func(s *elasticsearch.Settings) { s.Read = "buckets" }},
		} {
			t.Run(name, func(t *testing.T) {
				c.shipper.create(t, url, c.index)
				random, s, g := rand.New(rand.NewPCG(5, 6)), newShop(9), newGuard(slos())
				all := s.between(time.Now().Add(-20*time.Minute), time.Now(), 500)
				c.shipper.ship(t, url, c.index, all)
				set := settings(url, c.index)
				set.Page = 50
				if c.change != nil {
					c.change(&set)
				}
				for range 5 {
					stop, _ := g.run(t, set)
					for range 3 {
						time.Sleep(time.Duration(random.Int64N(int64(time.Second))))
						more := s.between(time.Now().Add(-2*time.Minute), time.Now(), 40)
						for i := range more {
							more[i].ingested = time.Now()
						}
						c.shipper.ship(t, url, c.index, more)
						all = append(all, more...)
					}
					stop()
				}
				stop, _ := g.run(t, set)
				until(t, g, "all of it", func() bool { return g.total() >= uint64(len(all)) })
				time.Sleep(2 * time.Second) // more than there is would come by the next look
				stop()
				if g.total() != uint64(len(all)) {
					t.Errorf("%d indexed, %d counted", len(all), g.total())
				}
				at := time.Now().Truncate(time.Minute).Add(time.Minute) // beyond a bucket's end
				same(t, g, counted(t, g, all, at), at, time.Hour)
			})
		}
	})
}

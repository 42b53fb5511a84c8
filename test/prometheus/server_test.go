package prometheus_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/logging"
)

// patience is how long a test waits for what must come. It is long because the
// machines that run tests are busy; nothing takes that long when all is well.
const patience = time.Minute

// server is a Prometheus in this process: the parts that cmd/prometheus joins, but for
// the web pages and for discovery other than static.
type server struct {
	db      *tsdb.DB
	manager *scrape.Manager
	engine  *promql.Engine
	own     *prometheus.Registry // what it says of itself
	log     *complaints
}

// startServer starts a Prometheus on a prometheus.yml. It ends with the test.
func startServer(t *testing.T, yaml string) *server {
	t.Helper()
	s := &server{own: prometheus.NewRegistry(), log: &complaints{}}
	logger := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg, err := config.Load(yaml, logger)
	if err != nil {
		t.Fatalf("prometheus.yml: %v\n%s", err, yaml)
	}
	if s.db, err = tsdb.Open(t.TempDir(), logger, s.own, tsdb.DefaultOptions(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.db.Close(); err != nil {
			t.Error(err)
		}
	})
	s.engine = promql.NewEngine(promql.EngineOpts{Logger: logger, Reg: s.own, MaxSamples: 1e6, Timeout: patience})
	opts := &scrape.Options{DiscoveryReloadInterval: model.Duration(10 * time.Millisecond)}
	if s.manager, err = scrape.NewManager(opts, logger, logging.NewJSONFileLogger, nil, s.db, s.own); err != nil {
		t.Fatal(err)
	}
	if err := s.manager.ApplyConfig(cfg); err != nil {
		t.Fatal(err)
	}
	s.run(t, staticTargets(cfg))
	return s
}

// run scrapes targets until the test ends.
func (s *server) run(t *testing.T, targets map[string][]*targetgroup.Group) {
	t.Helper()
	sets := make(chan map[string][]*targetgroup.Group, 1)
	sets <- targets
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.manager.Run(sets); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		s.manager.Stop()
		running.Wait()
	})
}

// staticTargets does what the discovery manager does with static_configs.
func staticTargets(cfg *config.Config) map[string][]*targetgroup.Group {
	targets := map[string][]*targetgroup.Group{}
	for _, job := range cfg.ScrapeConfigs {
		for _, d := range job.ServiceDiscoveryConfigs {
			if static, ok := d.(discovery.StaticConfig); ok {
				targets[job.JobName] = append(targets[job.JobName], static...)
			}
		}
	}
	return targets
}

// instant is a Prometheus as of an instant. Checks ask as of a scrape, not as of now: a
// later scrape may have timed out on a busy machine, and is not what they are about.
type instant struct {
	*server
	at time.Time
}

// query evaluates an expression. A warning or a remark is a failure: Prometheus gives
// one, for instance, when a rate is taken of what is not named like a counter.
func (s instant) query(t *testing.T, format string, args ...any) promql.Vector {
	t.Helper()
	expr := fmt.Sprintf(format, args...)
	q, err := s.engine.NewInstantQuery(t.Context(), s.db, nil, expr, s.at)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	defer q.Close()
	result := q.Exec(t.Context())
	vector, err := result.Vector()
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	for _, w := range result.Warnings.AsErrors() {
		// Kong calls this counter so.
		if !strings.Contains(w.Error(), `"kong_bandwidth_bytes"`) {
			t.Errorf("%s: %v", expr, w)
		}
	}
	return slices.Clone(vector)
}

// value evaluates an expression that has exactly one result.
func (s instant) value(t *testing.T, format string, args ...any) float64 {
	t.Helper()
	vector := s.query(t, format, args...)
	if len(vector) != 1 {
		t.Fatalf("%s has %d results, want 1: %v", fmt.Sprintf(format, args...), len(vector), vector)
	}
	return vector[0].F
}

// target returns the only target of a job; nil before the first look at it.
func (s *server) target(job string) *scrape.Target {
	if targets := s.manager.TargetsActive()[job]; len(targets) == 1 {
		return targets[0]
	}
	return nil
}

// awaitScrape returns when a scrape of the job that began after an instant is stored
// and found the target up (1) or down (0), with the instant of that scrape.
func (s *server) awaitScrape(t *testing.T, job string, after time.Time, up int) instant {
	t.Helper()
	// Prometheus may move a sample's timestamp by up to this, to make them regular.
	after = after.Add(scrape.ScrapeTimestampTolerance)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		now := instant{s, time.Now()}
		fresh := now.query(t, `timestamp(up{job=%q}) > %[2]f and up{job=%[1]q} == %[3]d`, job, float64(after.UnixMicro())/1e6, up)
		if len(fresh) == 1 {
			return instant{s, time.UnixMilli(int64(fresh[0].F*1000 + 0.5))}
		}
		select {
		case <-ctx.Done():
			reason := "there is no such target"
			if target := s.target(job); target != nil {
				reason = fmt.Sprintf("the last error of its scrapes is: %v", target.LastError())
			}
			t.Fatalf("no scrape of %s with up=%d was stored within %s; %s", job, up, patience, reason)
		case <-look.C:
		}
	}
}

// droppedSamples returns the scraper's own counters of what it could not take, those
// that are not 0.
func (s *server) droppedSamples(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := s.own.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts, seen := map[string]float64{}, 0
	for _, f := range families {
		name := f.GetName()
		if !strings.HasPrefix(name, "prometheus_target_scrapes_") || f.GetType() != dto.MetricType_COUNTER {
			continue
		}
		for _, m := range f.GetMetric() {
			seen++
			if v := m.GetCounter().GetValue(); v != 0 {
				counts[name] += v
			}
		}
	}
	if seen == 0 {
		t.Fatal("the scraper has no counters of refused samples; were they renamed?")
	}
	return counts
}

// complaints keeps what Prometheus logs as a warning or an error.
type complaints struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (c *complaints) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(p)
}

func (c *complaints) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

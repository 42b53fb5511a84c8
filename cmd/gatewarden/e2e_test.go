package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakekong"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

const morePromises = `
  - name: payments-availability
    service: payments
    objective: 99.9
    window: 1h
    sli: {availability: {}}
`

// withPayments is crashRules with one more SLO.
func withPayments() string {
	return strings.Replace(crashRules, "\nactions:", morePromises+"\nactions:", 1)
}

func TestReload(t *testing.T) {
	t.Parallel()
	s := openShop(t, crashRules, 0)
	guard := startProcess(t, s.config)
	const metric = "gatewarden_config_last_reload_successful"

	s.write("rules.yaml", withPayments())
	inForce := func() error {
		_, err := guard.slo("payments-availability")
		return err
	}
	eventually(t, "the changed file to come into force", inForce)

	s.write("rules.yaml", strings.Replace(withPayments(), "objective", "objektive", 1))
	eventually(t, "the broken file to show", func() error {
		status, err := guard.status()
		if err == nil && !strings.Contains(status.Config.Error, "objektive") {
			err = fmt.Errorf("config.error of the status is %q", status.Config.Error)
		}
		return err
	})
	if v, err := guard.metric(metric); err != nil || v != 0 {
		t.Errorf("%s is %v, %v, want 0", metric, v, err)
	}
	if err := inForce(); err != nil {
		t.Errorf("the broken file has changed what is in force: %v", err)
	}
	status, answer := reload(t, guard)
	if status != http.StatusBadRequest || !strings.Contains(answer, "objektive") || !strings.Contains(answer, "rules.yaml:") {
		t.Errorf("POST /-/reload of a broken file answers %d %s, want 400 with the place", status, answer)
	}

	s.write("rules.yaml", crashRules)
	if status, answer := reload(t, guard); status != http.StatusOK {
		t.Errorf("POST /-/reload of a good file answers %d %s", status, answer)
	}
	if err := inForce(); err == nil {
		t.Error("an SLO that is no longer in the rules is still judged")
	}
	if v, err := guard.metric(metric); err != nil || v != 1 {
		t.Errorf("%s is %v, %v, want 1", metric, v, err)
	}
	hangUp(t, guard)
}

// reload asks the guard to reload and returns its answer.
func reload(t *testing.T, guard *process) (int, string) {
	t.Helper()
	resp, err := httpClient().Post(guard.api+"/-/reload", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// hangUp holds that SIGHUP reloads, also files that have not changed.
func hangUp(t *testing.T, guard *process) {
	t.Helper()
	before, err := guard.status()
	if err != nil {
		t.Fatal(err)
	}
	guard.signal(t, syscall.SIGHUP)
	eventually(t, "SIGHUP to reload", func() error {
		now, err := guard.status()
		if err == nil && !now.Config.LoadedAt.After(before.Config.LoadedAt) {
			err = fmt.Errorf("the files in force are those of %s", now.Config.LoadedAt)
		}
		return err
	})
	if !strings.Contains(guard.said(), `"because":"SIGHUP"`) {
		t.Errorf("the log does not say why it reloaded:\n%s", guard.tail())
	}
}

func TestWhatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	s := openShop(t, crashRules, 0)
	guard := startProcess(t, s.config)
	t.Cleanup(func() { // after the subtests
		if _, err := guard.status(); err != nil {
			t.Errorf("the first guard has not come through it: %v", err)
		}
		if _, err := os.Stat(filepath.Join(s.dir, "other")); err == nil {
			t.Error("a guard that could not listen has made a state folder")
		}
	})
	config, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	for sentence, c := range map[string]struct {
		from, to string
		want     []string
	}{
		"a second guard on the same state": {
			"", "",
			[]string{fmt.Sprintf("is in use by another guard (process %d", guard.cmd.Process.Pid), "give this one a folder of its own"},
		},
		"an API address in use": {
			`api: "127.0.0.1:0"`, `api: "` + strings.TrimPrefix(guard.api, "http://") + `"`,
			[]string{"listening for api on 127.0.0.1:", "another address goes into listen.api of"},
		},
		"an ingest address in use": {
			`ingest: "127.0.0.1:0"`, `ingest: "` + strings.TrimPrefix(guard.ingest, "http://") + `"`,
			[]string{"listening for ingest on 127.0.0.1:", "another address goes into listen.ingest of"},
		},
		"a configuration with two mistakes": {
			"state: {dir: data}", "state: {dirr: data}\nblind_after: 1s",
			[]string{"dirr", "blind_after must be at least"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(string(config), c.from, c.to, 1)
			if c.from != "" {
				text = strings.Replace(text, "{dir: data}", "{dir: other}", 1)
			}
			path := s.write(strings.ReplaceAll(sentence, " ", "-")+".yaml", text)
			second := startProcess(t, path)
			if code := second.exitCode(t); code != 1 {
				t.Errorf("it ended with %d, want 1", code)
			}
			for _, want := range c.want {
				if !strings.Contains(second.said(), want) {
					t.Errorf("it said %q, want %q in it", second.said(), want)
				}
			}
		})
	}
}

func TestHostileBodies(t *testing.T) {
	t.Parallel()
	s := openShop(t, crashRules, 0)
	config := fmt.Sprintf(configText, s.admin, s.jenkinsURL, jenkinsUser)
	s.write("gatewarden.yaml", strings.Replace(config, "/ingest/kong", "/ingest/kong, timeout: 2m", 1)) // a busy machine inflates a bomb for long
	guard := startProcess(t, s.config)
	now := time.Now()
	good := batch(1000, func(i int) loglines.Line { return line(i, now, "orders") })

	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(good); err != nil || z.Close() != nil {
		t.Fatal("cannot compress")
	}
	whole := zipped.Bytes()
	broken := bytes.Clone(whole)
	broken[len(broken)/2] ^= 0xff
	cutConnection(t, guard, good)
	t.Cleanup(func() { checkOnlyGoodCounts(t, guard, whole) }) // after the subtests

	for sentence, c := range map[string]struct {
		body     []byte
		encoding string
		status   int
		want     string
	}{
		"broken gzip":                  {broken, "gzip", 400, "cannot be read"},
		"gzip that ends in the middle": {whole[:len(whole)/2], "gzip", 400, "cannot be read"},
		"gzip that is none":            {good[:1000], "gzip", 400, "cannot be read"},
		"an encoding nobody knows":     {good[:1000], "br", 415, "gzip"},
		"JSON that ends in the middle": {good[:len(good)/2], "", 400, `"code":"invalid"`},
		"no JSON at all":               {[]byte("<html>"), "", 400, `"code":"invalid"`},
		"nested without end":           {bytes.Repeat([]byte("["), 1<<20), "", 400, `"code":"invalid"`},
		"larger than the limit":        {bytes.Repeat([]byte(" "), 33<<20), "", 413, "larger than"},
		"a bomb":                       {bomb(t), "gzip", 413, "larger than"},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			// The answer to a large body can come before it is sent; whoever does not wait
			// for it may find the connection cut instead.
			headers := []string{"Expect", "100-continue"}
			if c.encoding != "" {
				headers = append(headers, "Content-Encoding", c.encoding)
			}
			status, answer, err := guard.post("/ingest/kong", c.body, headers...)
			if err != nil || status != c.status || !strings.Contains(answer, c.want) {
				t.Errorf("got %d %s, %v, want %d with %q", status, answer, err, c.status, c.want)
			}
		})
	}
}

// checkOnlyGoodCounts holds that nothing of the bodies so far was counted, and that a
// good one is, once, however often it comes.
func checkOnlyGoodCounts(t *testing.T, guard *process, zipped []byte) {
	t.Helper()
	const counted = `gatewarden_store_records_total{result="counted"}`
	if v, err := guard.metric(counted); err != nil || v != 0 {
		t.Errorf("%v records of refused bodies are counted, %v", v, err)
	}
	for range 2 { // the second time as if its answer had got lost
		if status, answer, err := guard.post("/ingest/kong", zipped, "Content-Encoding", "gzip"); err != nil || status != http.StatusOK {
			t.Errorf("a good body: %d %s, %v", status, answer, err)
		}
	}
	if v, err := guard.metric(counted); err != nil || v != 1000 {
		t.Errorf("%v records are counted, %v, want 1000", v, err)
	}
}

// bomb is a small body that becomes one above the limit.
func bomb(t *testing.T) []byte {
	t.Helper()
	var zipped bytes.Buffer
	z, err := gzip.NewWriterLevel(&zipped, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	for range 33 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return zipped.Bytes()
}

// cutConnection promises a whole body and hangs up in its middle.
func cutConnection(t *testing.T, guard *process, body []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(guard.ingest, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /ingest/kong HTTP/1.1\r\nHost: guard\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		len(body), body[:len(body)/2])
	if err != nil {
		t.Fatal(err)
	}
}

func TestHostileRecords(t *testing.T) {
	t.Parallel()
	s := openShop(t, crashRules, 0)
	guard := startProcess(t, s.config)
	now := time.Now()

	for part := range 10 {
		body := batch(1000, func(i int) loglines.Line {
			return line(part*1000+i, now, fmt.Sprintf("service-%d", part*1000+i))
		})
		if status, answer, err := guard.post("/ingest/kong", body); err != nil || status != 200 {
			t.Fatalf("10,000 service names: %d %s, %v", status, answer, err)
		}
	}
	skewed := batch(100, func(i int) loglines.Line { return line(20_000+i, now.Add(time.Hour), "orders") })
	if status, answer, err := guard.post("/ingest/kong", skewed); err != nil || status != 200 {
		t.Errorf("records an hour ahead: %d %s, %v", status, answer, err)
	}
	late := batch(100, func(i int) loglines.Line { return line(30_000+i, now.Add(-time.Hour), "orders") })
	if status, answer, err := guard.post("/ingest/kong", late); err != nil || status != 200 {
		t.Errorf("records an hour behind: %d %s, %v", status, answer, err)
	}
	for sample, ok := range map[string]func(v float64) bool{
		`gatewarden_store_records_total{result="future"}`:  func(v float64) bool { return v == 100 },
		`gatewarden_store_records_total{result="counted"}`: func(v float64) bool { return v == 10_100 },
		"gatewarden_store_series":                          func(v float64) bool { return v <= 10_010 },
		"gatewarden_store_overflowed_records_total":        func(v float64) bool { return v > 0 },
	} {
		if v, err := guard.metric(sample); err != nil || !ok(v) {
			t.Errorf("%s is %v, %v", sample, v, err)
		}
	}
	s.openDoors(guard)
	eventually(t, "orders to be judged after all that", func() error {
		slo, err := guard.slo("orders-availability")
		if err == nil && slo.Verdict.State != gatewarden.Healthy {
			err = fmt.Errorf("they are %s: %s", slo.Verdict.State, slo.Verdict.Reason)
		}
		return err
	})
}

func line(id int, at time.Time, service string) loglines.Line {
	return loglines.Line{ID: 1<<32 + uint64(id), At: at, Service: service, Status: http.StatusOK, Millis: 5}
}

// batch is n lines as one array.
func batch(n int, each func(i int) loglines.Line) []byte {
	w, body := loglines.NewWriter(), []byte("[")
	for i := range n {
		if i > 0 {
			body = append(body, ',')
		}
		body = w.Append(body, each(i))
	}
	return append(body, ']')
}

// TestGatewayThatCannotBeChanged: while the Admin API is in trouble, the guard goes on
// judging, lets the rollback job run, and acts at the gateway once it can.
func TestGatewayThatCannotBeChanged(t *testing.T) {
	t.Parallel()
	for sentence, faults := range map[string]fakekong.Faults{
		"each answer takes long":         {Delay: 2 * time.Second},
		"no answer ever comes":           {Hang: true},
		"connections are cut":            {Reset: true},
		"each answer is 500":             {Status: http.StatusInternalServerError},
		"a proxy before it answers 503":  {Status: http.StatusServiceUnavailable},
		"the database behind it is down": {DatabaseDown: true},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			b := openShopDay(t)
			b.shop.setFaults(faults)
			b.shop.kong.ResetCalls()
			b.shop.bad.Store(true)
			b.untilJudgedOn(8)
			for _, c := range b.shop.kong.Calls() {
				if c.Method != http.MethodGet && c.Status/100 == 2 && faults.Delay == 0 {
					t.Errorf("%s %s came through: the gateway was not at fault, nothing was tested", c.Method, c.Path)
				}
			}
			b.shop.setFaults(fakekong.Faults{})
			b.untilOver()
			b.check()
		})
	}
}

// TestStartWhileTheGatewayIsDown: a guard that starts then judges, and acts once it can.
func TestStartWhileTheGatewayIsDown(t *testing.T) {
	t.Parallel()
	b := &breach{t: t, shop: openShop(t, crashRules, crashBuilds)}
	b.shop.setFaults(fakekong.Faults{DatabaseDown: true})
	b.guard = startProcess(t, b.shop.config)
	b.customers = b.shop.openDoors(b.guard)
	b.untilHealthy()
	b.shop.bad.Store(true)
	b.untilJudgedOn(3)
	b.shop.setFaults(fakekong.Faults{})
	b.untilOver()
	b.check()
}

// untilJudgedOn waits until the outage has begun and n more instants have been judged.
func (b *breach) untilJudgedOn(n int) {
	b.t.Helper()
	judged := map[time.Time]bool{}
	eventually(b.t, "the guard to judge on", func() error {
		s, err := b.guard.slo("orders-availability")
		if err != nil {
			return err
		}
		if s.Verdict.State == gatewarden.Breach && s.Verdict.Severity == gatewarden.SeverityOutage {
			judged[s.Verdict.At] = true
		}
		if len(judged) <= n {
			return fmt.Errorf("%d instants of the outage are judged, the last one %s", len(judged), s.Verdict.At)
		}
		return nil
	})
	// What a call to Kong may take, 5 s, must not be what a tick takes.
	sum, err := b.guard.metric("gatewarden_app_tick_seconds_sum")
	count, countErr := b.guard.metric("gatewarden_app_tick_seconds_count")
	if err := errors.Join(err, countErr); err != nil || sum/count > 1 {
		b.t.Errorf("%v ticks took %v s together, %v: they wait for something", count, sum, err)
	}
}

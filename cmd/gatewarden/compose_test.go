package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/loglines"
)

const composeFiles = "../../deploy/compose/gatewarden"

// anArchive answers as an Elasticsearch that knows how Kong's log is made, and has none.
func anArchive() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/_field_caps"):
			fmt.Fprint(w, kongFields)
		case strings.HasSuffix(r.URL.Path, "/_search"):
			fmt.Fprint(w, `{"timed_out":false,"_shards":{"total":1,"successful":1,"failed":0},"hits":{"hits":[]},"aggregations":{"rows":{"buckets":[]}}}`)
		default: // the audit's, which is tried again
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{}`)
		}
	})
}

// composeConfig writes the configuration of docker-compose.yml down with the addresses of
// stand-ins, and nothing else in it changed.
func composeConfig(t *testing.T, s *shop, archive, other string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(composeFiles, "gatewarden.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	config := string(text)
	for was, is := range map[string]string{
		`api: ":8080"`: `api: "127.0.0.1:0"`, `ingest: ":8081"`: `ingest: "127.0.0.1:0"`, "{dir: /data}": "{dir: data}",
		"http://kong:8100": s.admin, "http://kong:8001": s.admin, "http://jenkins:8080": s.jenkinsURL, "http://elasticsearch:9200": archive,
		"http://jaeger:16686": other, "http://jaeger:4318": other, "http://grafana:3000": other, "/run/secrets/": "",
	} {
		if !strings.Contains(config, was) {
			t.Fatalf("the configuration of the containers has no %s any more, which this test replaces", was)
		}
		config = strings.ReplaceAll(config, was, is)
	}
	rules, err := os.ReadFile(filepath.Join(composeFiles, "rules", "shop.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.dir, "rules"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write("rules/shop.yaml", string(rules))
	s.write("jenkins_token", jenkinsToken)
	s.write("grafana_admin_password", "admin")
	return s.write("gatewarden.yaml", config)
}

// A configuration is right when a guard that runs on it judges, and goes on: that of the
// containers did only for as long as Elasticsearch was not up.
func TestAGuardOnTheConfigurationOfTheContainersJudges(t *testing.T) {
	t.Parallel()
	archive := httptest.NewServer(anArchive())
	t.Cleanup(archive.Close)
	other := httptest.NewServer(http.NotFoundHandler()) // of Jaeger and of Grafana
	t.Cleanup(other.Close)
	s := openShop(t, "", 0)
	guard := startProcess(t, composeConfig(t, s, archive.URL, other.URL), "JAEGER_PORT=16686")
	id := 0
	var since time.Time // when Elasticsearch had nothing left that the guard wants of it
	eventually(t, "orders to be judged for three seconds after the past was filled in", func() error {
		id += 10
		now := time.Now()
		if _, _, err := guard.post("/ingest/kong", batch(10, func(i int) loglines.Line { return line(id+i, now, "orders") })); err != nil {
			return err
		}
		slo, err := guard.slo("orders-availability")
		switch v := slo.Verdict; {
		case since.IsZero() && strings.Contains(guard.said(), "the past is filled in"):
			since = now
			return errors.New("the past has just been filled in")
		case since.IsZero():
			return errors.New("the past is not filled in yet")
		case err != nil:
			t.Fatalf("%s after the past was filled in nobody judges: %v", now.Sub(since), err)
			return nil
		case v.State != gatewarden.Healthy || v.SLO == nil || v.SLO.Count.Total() == 0 || v.At.Before(since.Add(3*time.Second)):
			return fmt.Errorf("at %s it is %s: %s", v.At, v.State, v.Reason)
		}
		return nil
	})
}

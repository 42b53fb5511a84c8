package elasticsearch_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The template of deploy/compose, as Logstash 7.17 installs it, and documents as that
// pipeline makes them of Kong's lines: what the guard and people ask for can be asked for.
func TestElasticsearchTakesTheTemplateOfTheStack(t *testing.T) {
	url := start(t, "elasticsearch")
	template, err := os.ReadFile(filepath.Join("..", "..", "deploy", "compose", "logstash", "templates", "kong.json"))
	if err != nil {
		t.Fatal(err)
	}
	call(t, "DELETE", url+"/kong-*", "")
	call(t, "PUT", url+"/_template/kong", string(template))
	defer call(t, "DELETE", url+"/kong-*", "")
	defer call(t, "DELETE", url+"/_template/kong", "") // it would change what other tests index
	var bulk strings.Builder
	s := newShop(1)
	for range 20 {
		r := s.at(time.Now().Add(-time.Minute), 0)
		var object map[string]any
		if err := json.Unmarshal([]byte(r.line), &object); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"request", "response"} {
			delete(object[name].(map[string]any), "headers") // as the pipeline does
		}
		delete(object, "tries")
		object["@timestamp"] = r.completed.UTC().Format(time.RFC3339Nano)
		object["event"] = map[string]any{"ingested": time.Now().UTC().Format(time.RFC3339Nano)}
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		bulk.WriteString(`{"index": {"_index": "kong-2026.11.22", "_id": "` + r.id + "\"}}\n" + string(text) + "\n")
	}
	once := bulk.String()
	if answer := call(t, "POST", url+"/_bulk?refresh=true", once+once); answer["errors"] != false { // Kong's line may come twice
		t.Fatalf("documents are refused: %v", answer)
	}
	query := `{"query": {"bool": {"filter": [{"range": {"started_at": {"gte": "now-1h"}}}, {"exists": {"field": "event.ingested"}}, {"term": {"client_ip": "203.0.113.0/24"}}]}},
		"aggs": {"services": {"terms": {"field": "service.name"}}, "slowest": {"max": {"field": "latencies.request"}}}, "size": 0}`
	answer := call(t, "POST", url+"/kong-*/_search", query)
	if total := answer["hits"].(map[string]any)["total"].(map[string]any)["value"]; total != 20.0 {
		t.Errorf("%v documents are found, want 20", total)
	}
	if services := answer["aggregations"].(map[string]any)["services"].(map[string]any)["buckets"].([]any); len(services) < 3 {
		t.Errorf("services by name: %v", services)
	}
}

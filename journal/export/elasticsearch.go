package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/olivere/elastic/v7"

	"github.com/gatewarden/gatewarden"
)

// ElasticsearchConfig says where documents go.
type ElasticsearchConfig struct {
	URLs   []string
	Stream string // the data stream; gatewarden-audit unless set
	Guard  string // which guard it is: several may share a stream
	// NoTemplate leaves mapping and data stream to whoever runs Elasticsearch.
	NoTemplate bool
	Timeout    time.Duration // of one request; 30 s unless set
	// Transport carries the requests, with what they need of credentials and TLS.
	Transport http.RoundTripper
}

// Elasticsearch writes events to a data stream of its own, or to a plain index where there
// are no data streams.
type Elasticsearch struct {
	cfg    ElasticsearchConfig
	client *elastic.Client

	mu    sync.Mutex
	ready bool // the template is there
}

var _ Target = (*Elasticsearch)(nil)

// NewElasticsearch returns a target. It sends nothing yet.
func NewElasticsearch(cfg ElasticsearchConfig) (*Elasticsearch, error) {
	if cfg.Stream == "" {
		cfg.Stream = "gatewarden-audit"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	client, err := elastic.NewSimpleClient(elastic.SetURL(cfg.URLs...), elastic.SetDecoder(&elastic.NumberDecoder{}),
		elastic.SetHttpClient(&http.Client{Transport: cfg.Transport, Timeout: cfg.Timeout}))
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "setting up the export to Elasticsearch: %w", err)
	}
	return &Elasticsearch{cfg: cfg, client: client}, nil
}

// Mark asks for the newest document of this guard.
func (e *Elasticsearch) Mark(ctx context.Context) (Mark, error) {
	newest := elastic.NewSearchSource().Size(1).TrackTotalHits(false).
		Query(elastic.NewBoolQuery().Filter(elastic.NewTermQuery("guard", e.cfg.Guard))).
		SortBy(elastic.NewFieldSort("@timestamp").Desc().UnmappedType("date"), elastic.NewFieldSort("seq").Desc().UnmappedType("long"))
	ask := e.client.Search(e.cfg.Stream).SearchSource(newest).AllowPartialSearchResults(false).IgnoreUnavailable(true).AllowNoIndices(true)
	answer, err := twice(ctx, ask.Do)
	switch {
	case err != nil:
		return Mark{}, refused("asking Elasticsearch what it has", err)
	case answer.TimedOut || answer.Shards == nil || answer.Shards.Failed > 0:
		return Mark{}, gatewarden.Errorf(gatewarden.Unavailable, "Elasticsearch does not know what it has: not all shards answered")
	case answer.Hits == nil || len(answer.Hits.Hits) == 0:
		return Mark{}, nil
	}
	var mark Mark
	if err := json.Unmarshal(answer.Hits.Hits[0].Source, &mark); err != nil {
		return Mark{}, gatewarden.Errorf(gatewarden.Unavailable, "reading what Elasticsearch has: %w", err)
	}
	return mark, nil
}

// Write creates a document for each event. Its id is the event's, so that one which comes
// again changes nothing.
func (e *Elasticsearch) Write(ctx context.Context, events []gatewarden.Event) error {
	if err := e.prepare(ctx); err != nil {
		return err
	}
	// Who asks for Mark next must find them.
	bulk := e.client.Bulk().Index(e.cfg.Stream).Refresh("wait_for")
	for i := range events {
		document, err := e.document(&events[i])
		if err != nil {
			return err
		}
		bulk.Add(elastic.NewBulkCreateRequest().Id(e.id(&events[i])).Doc(document))
	}
	answer, err := twice(ctx, bulk.Do)
	if err != nil {
		return refused("writing to Elasticsearch", err)
	}
	if len(answer.Items) != len(events) {
		return gatewarden.Errorf(gatewarden.Unavailable, "Elasticsearch was given %d events and spoke of %d", len(events), len(answer.Items))
	}
	for _, failed := range answer.Failed() {
		if failed.Status == http.StatusConflict {
			continue // it has it already
		}
		reason := "no reason given"
		if failed.Error != nil {
			reason = failed.Error.Type + ": " + failed.Error.Reason
		}
		return gatewarden.Errorf(gatewarden.Unavailable, "Elasticsearch did not take event %s (status %d): %s", failed.Id, failed.Status, reason).
			WithHint("an index template of a higher priority may map its fields otherwise")
	}
	return nil
}

// id names an event, of whatever guard and journal.
func (e *Elasticsearch) id(event *gatewarden.Event) string {
	return fmt.Sprintf("%s-%d-%d", e.cfg.Guard, event.Seq, event.At.UnixNano())
}

// document is the event's own JSON with what a data stream asks for.
func (e *Elasticsearch) document(event *gatewarden.Event) (json.RawMessage, error) {
	text, err := json.Marshal(event)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "writing event %d as JSON: %w", event.Seq, err)
	}
	head, err := json.Marshal(map[string]any{"@timestamp": event.At.UTC(), "guard": e.cfg.Guard})
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "writing event %d as JSON: %w", event.Seq, err)
	}
	return append(append(bytes.TrimSuffix(head, []byte("}")), ','), text[1:]...), nil
}

// mapping lists the fields to search by. The rest of an event, which has keys of the
// operator's choice in it, is kept and not indexed.
const mapping = `{"dynamic":false,"properties":{
	"@timestamp":{"type":"date_nanos"},"at":{"type":"date_nanos"},"seq":{"type":"long"},"guard":{"type":"keyword"},
	"type":{"type":"keyword"},"name":{"type":"keyword"},"state":{"type":"keyword"},"severity":{"type":"keyword"},"by":{"type":"keyword"},
	"reason":{"type":"text"},
	"action":{"properties":{
		"id":{"type":"keyword"},"policy":{"type":"keyword"},"ladder":{"type":"keyword"},"step":{"type":"integer"},"status":{"type":"keyword"},
		"mode":{"type":"keyword"},"by":{"type":"keyword"},"change":{"type":"text"},"undo":{"type":"text"},"link":{"type":"keyword"},
		"trigger":{"properties":{"kind":{"type":"keyword"},"name":{"type":"keyword"},"severity":{"type":"keyword"},"reason":{"type":"text"}}},
		"spec":{"properties":{"kind":{"type":"keyword"}}}}},
	"alert":{"properties":{"name":{"type":"keyword"}}},
	"run":{"properties":{"id":{"type":"keyword"},"canary":{"type":"keyword"}}}}}`

// prepare puts the index template in place, unless one of that name is there: it may have
// been changed by hand.
func (e *Elasticsearch) prepare(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ready || e.cfg.NoTemplate {
		return nil
	}
	_, err := twice(ctx, e.client.IndexGetIndexTemplate(e.cfg.Stream).Do)
	switch {
	case elastic.IsNotFound(err):
		err = e.putTemplate(ctx)
	case err != nil:
		err = refused("asking Elasticsearch for the index template", err)
	}
	if err != nil {
		return err
	}
	e.ready = true
	return nil
}

func (e *Elasticsearch) putTemplate(ctx context.Context) error {
	template := func(stream string) string {
		return fmt.Sprintf(`{"index_patterns":[%q],%s"priority":300,"template":{"mappings":%s},"_meta":{"by":"gatewarden"}}`, e.cfg.Stream, stream, mapping)
	}
	_, err := e.client.IndexPutIndexTemplate(e.cfg.Stream).BodyString(template(`"data_stream":{},`)).Do(ctx)
	var answer *elastic.Error
	if errors.As(err, &answer) && answer.Status == http.StatusBadRequest && answer.Details != nil && knowsNoStreams(answer.Details) {
		_, err = e.client.IndexPutIndexTemplate(e.cfg.Stream).BodyString(template("")).Do(ctx)
	}
	if err != nil {
		return refused("putting the index template in place", err)
	}
	return nil
}

// knowsNoStreams reports whether an error is that of a distribution without data streams.
func knowsNoStreams(d *elastic.ErrorDetails) bool {
	cause, _ := json.Marshal(d.CausedBy) // what was decoded from JSON
	return strings.Contains(d.Reason+string(cause), "data_stream")
}

// twice calls do again when the client has sent nothing, because its only node did not
// answer last time: it revives the node as it says so.
func twice[T any](ctx context.Context, do func(context.Context) (T, error)) (T, error) {
	answer, err := do(ctx)
	if err != nil && elastic.IsConnErr(err) {
		answer, err = do(ctx)
	}
	return answer, err
}

func refused(doing string, err error) error {
	e := gatewarden.Errorf(gatewarden.Unavailable, "%s: %w", doing, err)
	var answer *elastic.Error
	if errors.As(err, &answer) && (answer.Status == http.StatusUnauthorized || answer.Status == http.StatusForbidden) {
		return e.WithHint("the user needs create_doc, read and auto_configure on the stream, and manage_index_templates unless the template is there")
	}
	return e
}

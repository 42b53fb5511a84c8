package elasticsearch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/olivere/elastic/v7"

	"github.com/gatewarden/gatewarden"
)

// prefixes are where shippers put Kong's object: at the top (Logstash), under a key of
// one's own choice (Filebeat with target: kong), where a shipper's JSON parser puts it, or as
// a string that nobody has parsed.
var prefixes = []string{"", "kong", "json", "log_processed", "parsed", "message", "log", "event.original"}

// layout is how the documents of an index are made.
type layout struct {
	prefix   string // where Kong's object is, "" for the top
	time     field
	ingested field // its name is "" when documents do not say when they were indexed
	stamps   stamps

	// What buckets are made by; the names are "" where the index has no such field.
	status    field
	service   names
	route     names
	consumer  names
	workspace field
	origin    field
	tags      []field  // of the service and of the route
	latency   [3]field // by part
	problem   error    // why there can be no buckets; nil when there can
}

// names are the fields that make a name, the first one that a document has.
type names []field

// field is a field as the index maps it.
type field struct {
	name string
	kind string // date, date_nanos, long and so on
	// whole says that an index keeps it as a whole number, and takes no other in an
	// aggregation.
	whole bool
}

// format returns the member of a range query that says that bounds are Unix milliseconds.
func (f field) format() string {
	if f.isDate() {
		return `,"format":"epoch_millis"`
	}
	return ""
}

func (f field) isDate() bool { return f.kind == "date" || f.kind == "date_nanos" }

// perMilli returns how many units of a sort value are a millisecond.
func (f field) perMilli() int64 {
	if f.kind == "date_nanos" {
		return 1_000_000
	}
	return 1
}

// wholeNumbers are the types of numbers that times and statuses have.
var wholeNumbers = []string{"long", "integer", "short", "unsigned_long", "byte"}

// numbers are the types that latencies have.
var numbers = append(slices.Clone(wholeNumbers), "double", "float", "half_float", "scaled_float")

// look finds out how the documents of the index are made.
func (x *index) look(ctx context.Context, s *Settings) (*layout, error) {
	try := prefixes
	if s.Prefix != auto {
		try = []string{strings.TrimSuffix(s.Prefix, ".")}
	}
	// Names go into the URL, of which Elasticsearch takes 4 KiB: first where things are, then what.
	wanted := []string{s.Time, s.Ingested}
	for _, prefix := range try {
		wanted = append(wanted, prefix, in(prefix, "response.status"))
	}
	caps, err := x.caps(ctx, wanted)
	if err != nil {
		return nil, err
	}
	l := &layout{}
	found := slices.IndexFunc(try, func(p string) bool { return holds(caps, p) })
	if found < 0 {
		if len(caps) == 0 {
			return nil, gatewarden.Errorf(gatewarden.NotFound, "no index that %s names has documents of Kong's log yet", strings.Join(x.names, ","))
		}
		return nil, gatewarden.Errorf(gatewarden.Invalid, "no field of the index holds Kong's log: neither %s nor a string that could be it", in(try[0], "response.status")).
			WithHint("say where Kong's object is: prefix: kong for kong.response.status")
	}
	l.prefix = try[found]
	wanted = []string{s.Time, s.Ingested, l.prefix}
	for _, name := range kongFields {
		wanted = append(wanted, in(l.prefix, name))
	}
	if caps, err = x.caps(ctx, wanted); err != nil {
		return nil, err
	}
	if l.time, err = caps.timeOf(s.Time, true); err != nil {
		return nil, err
	}
	if s.Ingested != "" {
		if l.ingested, err = caps.timeOf(s.Ingested, false); err != nil {
			return nil, err
		}
	}
	l.problem = l.find(caps)
	return l, nil
}

// stamps are how many of the newest documents say when they were indexed. That a field is
// mapped says nothing: Filebeat's template maps event.ingested, and only an ingest pipeline
// fills it in.
type stamps struct {
	with, without int64
	field         string // that all of them lack, "" for none
}

// stampsOver is of how much event time the newest documents are.
const stampsOver = time.Hour

// stamped counts which of the newest documents have the field of l.ingested, and takes it
// from l when there are some and none has it.
func (x *index) stamped(ctx context.Context, l *layout, now time.Time) error {
	name := l.ingested.name
	answer, err := x.search(ctx, elastic.NewSearchSource().
		Query(x.where(between(l.time, now.Add(-stampsOver).UnixMilli(), now.UnixMilli()))).Size(0).TrackTotalHits(false).
		Aggregation("with", elastic.NewFilterAggregation().Filter(elastic.NewExistsQuery(name))).
		Aggregation("without", elastic.NewMissingAggregation().Field(name)))
	if err != nil {
		return err
	}
	if found, ok := answer.Aggregations.Filter("with"); ok {
		l.stamps.with = found.DocCount
	}
	if found, ok := answer.Aggregations.Missing("without"); ok {
		l.stamps.without = found.DocCount
	}
	if l.stamps.with == 0 && l.stamps.without > 0 {
		l.stamps.field, l.ingested = name, field{}
	}
	return nil
}

// in returns the name of a field of Kong's object.
func in(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// holds reports whether Kong's object, or a string that may be it, is at the prefix.
func holds(caps capabilities, prefix string) bool {
	if prefix != "" {
		if types := caps[prefix]; types["text"] || types["keyword"] || types["wildcard"] || types["match_only_text"] {
			return true
		}
	}
	return len(caps[in(prefix, "response.status")]) > 0
}

// capabilities are the types of fields, by name. A field that can be searched and
// aggregated in all indices alike has one type, or several kinds of number.
type capabilities map[string]map[string]bool

// kongFields are the fields of Kong's object that buckets are made by, and others.
var kongFields = []string{
	"response.status*", "service.*", "route.*", "consumer.*", "workspace_name*", "source*", "latencies.*",
}

// caps returns the types of fields, whose names may end in an asterisk.
func (x *index) caps(ctx context.Context, wanted []string) (capabilities, error) {
	wanted = slices.DeleteFunc(slices.Clone(wanted), func(name string) bool { return name == "" })
	ctx, cancel := context.WithTimeout(ctx, x.timeout)
	defer cancel()
	ask := x.client.FieldCaps(x.names...).Fields(wanted...).IgnoreUnavailable(true).AllowNoIndices(true)
	answer, err := ask.Do(ctx)
	if err != nil && elastic.IsConnErr(err) {
		answer, err = ask.Do(ctx)
	}
	if err != nil {
		x.metrics.requests.WithLabelValues(outcomeFailed).Inc()
		return nil, refused(err)
	}
	x.metrics.requests.WithLabelValues(outcomeOK).Inc()
	caps := capabilities{}
	for name, types := range answer.Fields {
		caps[name] = map[string]bool{}
		for kind := range types {
			if kind != "unmapped" && kind != "object" {
				caps[name][kind] = true
			}
		}
	}
	maps.DeleteFunc(caps, func(_ string, types map[string]bool) bool { return len(types) == 0 })
	return caps, nil
}

// one returns the field if all indices map it as one of the types.
func (c capabilities) one(name string, types ...string) (field, bool) {
	f := field{name: name}
	for kind := range c[name] {
		if !slices.Contains(types, kind) {
			return field{}, false
		}
		f.kind = kind
		f.whole = f.whole || slices.Contains(wholeNumbers, kind)
	}
	return f, f.kind != ""
}

// conflict says that indices map a field differently, or not as it is needed.
func (c capabilities) conflict(name, want string) error {
	kinds := slices.Sorted(maps.Keys(c[name]))
	if len(kinds) > 1 {
		return gatewarden.Errorf(gatewarden.Conflict, "indices map %s differently: as %s", name, strings.Join(kinds, " and ")).
			WithHint("narrow index to those of one mapping, or reindex; an index template keeps it from happening again")
	}
	return gatewarden.Errorf(gatewarden.Invalid, "%s is mapped as %s, which is no %s", name, strings.Join(kinds, ""), want).
		WithHint("map it in an index template")
}

// timeOf returns a field of times. One that is not mapped is an error when it is needed.
func (c capabilities) timeOf(name string, needed bool) (field, error) {
	if len(c[name]) == 0 {
		if !needed {
			return field{}, nil
		}
		return field{}, gatewarden.Errorf(gatewarden.Invalid, "the index has no field %s", name).WithHint("time: names the field of the event time")
	}
	for _, types := range [][]string{{"date"}, {"date_nanos"}, {"long", "unsigned_long"}} {
		if f, ok := c.one(name, types...); ok {
			return f, nil
		}
	}
	return field{}, c.conflict(name, "date")
}

// find fills in what buckets are made by.
func (l *layout) find(caps capabilities) error {
	name := func(leaf string) string { return in(l.prefix, leaf) }
	if len(caps[name("response.status")]) == 0 {
		return gatewarden.Errorf(gatewarden.Invalid, "Kong's object is a string in %s: Elasticsearch can't count by what is in it", l.prefix).
			WithHint("let the shipper parse it, or read: documents")
	}
	var ok bool
	if l.status, ok = caps.one(name("response.status"), wholeNumbers...); !ok {
		if l.status, ok = caps.word(name("response.status")); !ok {
			return caps.conflict(name("response.status"), "number")
		}
	}
	for _, of := range []struct {
		into   *names
		leaves []string
	}{
		{&l.service, []string{"service.name", "service.host", "service.id"}},
		{&l.route, []string{"route.name", "route.id"}},
		{&l.consumer, []string{"consumer.username", "consumer.custom_id", "consumer.id"}},
	} {
		for _, leaf := range of.leaves {
			f, err := caps.optional(name(leaf))
			if err != nil {
				return err
			}
			if f.name != "" {
				*of.into = append(*of.into, f)
			}
		}
	}
	return l.findRest(caps, name)
}

func (l *layout) findRest(caps capabilities, name func(string) string) error {
	var err error
	if l.workspace, err = caps.optional(name("workspace_name")); err != nil {
		return err
	}
	if l.origin, err = caps.optional(name("source")); err != nil {
		return err
	}
	for _, leaf := range []string{"service.tags", "route.tags"} {
		f, err := caps.optional(name(leaf))
		if err != nil {
			return err
		}
		if f.name != "" {
			l.tags = append(l.tags, f)
		}
	}
	for part, leaf := range []string{"latencies.request", "latencies.proxy", "latencies.kong"} {
		if len(caps[name(leaf)]) == 0 {
			continue
		}
		f, ok := caps.one(name(leaf), numbers...)
		if !ok {
			return caps.conflict(name(leaf), "number")
		}
		l.latency[part] = f
	}
	return nil
}

// words are the types that can be counted by and hold what was sent.
var words = []string{"keyword", "constant_keyword", "wildcard", "ip"}

// word returns the field, or its .keyword where it is text, if it can be counted by.
func (c capabilities) word(name string) (field, bool) {
	if f, ok := c.one(name, words...); ok {
		return f, true
	}
	for kind := range c[name] {
		if kind != "text" && kind != "keyword" {
			return field{}, false
		}
	}
	return c.one(name+".keyword", words...)
}

// optional is word for a field that the index need not have.
func (c capabilities) optional(name string) (field, error) {
	if len(c[name]) == 0 {
		return field{}, nil
	}
	if c[name]["text"] && c[name]["keyword"] {
		return field{}, c.conflict(name, "keyword") // .keyword is missing where it is a keyword itself
	}
	f, ok := c.word(name)
	if !ok {
		return field{}, c.conflict(name, "keyword")
	}
	return f, nil
}

// String says how the layout is, for the log.
func (l *layout) String() string {
	at := "at the top"
	if l.prefix != "" {
		at = "under " + l.prefix
	}
	by := l.time.name
	if l.ingested.name != "" {
		by = l.ingested.name
	}
	return fmt.Sprintf("Kong's object %s, followed by %s", at, by)
}

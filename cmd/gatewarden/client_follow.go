package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
)

// missedEvents is how many events are asked for at most that happened while nobody
// followed: as many as the API gives.
const missedEvents = 10_000

// tail follows the timeline over the ends of its streams.
type tail struct {
	client *client
	query  url.Values
	each   func(gatewarden.Event) error
	say    func(format string, args ...any)
	again  bool   // there was a stream before
	last   uint64 // the last event that came; before the first, the newest that there was
	all    bool   // nothing is left out by a filter
}

// follow calls each with every event as it happens, until ctx ends, which is no error. A
// stream ends when another guard leads, or one is restarted: it is said, and followed again
// behind the last event that came, for as long as it takes.
func (c *client) follow(ctx context.Context, query url.Values, each func(gatewarden.Event) error, say func(format string, args ...any)) error {
	query.Set("follow", "true")
	t := &tail{client: c, query: query, each: each, say: say, all: !query.Has("type") && !query.Has("name")}
	f := follower{unreachable: forever, say: say}
	stream, err := t.open(ctx)
	for retry := firstRetry; err == nil; retry = min(2*retry, lastRetry) {
		began := time.Now()
		var why error
		why, err = t.read(stream)
		_ = stream.Close()
		if err != nil || ctx.Err() != nil {
			break
		}
		say("The stream of events has ended: %v. It is followed again.", why)
		if f.heard = time.Now(); f.heard.Sub(began) > lastRetry {
			retry = firstRetry
		}
		if err = pause(ctx, jittered(retry)); err == nil {
			err = f.persist(ctx, func() (err error) { stream, err = t.open(ctx); return err })
		}
	}
	if ctx.Err() == nil {
		return err
	}
	return nil // asked to stop
}

// open asks for a stream: the first as the query says, those after it behind the last event.
func (t *tail) open(ctx context.Context) (io.ReadCloser, error) {
	var newest api.EventList
	if err := t.client.get(ctx, "/api/v1/events?limit=1", &newest); err != nil {
		return nil, err
	}
	seq := uint64(0)
	for _, e := range newest.Events {
		seq = e.Seq
	}
	switch {
	case !t.again:
		t.last = seq
	case seq < t.last:
		t.say("The guard has another journal than before: its newest event is %d, and %d had come. It is followed from its beginning.", seq, t.last)
		t.last = 0
	}
	if t.again {
		t.query.Set("since", strconv.FormatUint(t.last, 10))
		t.query.Set("limit", strconv.Itoa(missedEvents))
	}
	resp, err := t.client.do(ctx, http.MethodGet, "/api/v1/events?"+t.query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// read calls each with the events of a stream until it ends, and returns why it did. An
// error is of what is no event, or of each.
func (t *tail) read(stream io.Reader) (why, err error) {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 4<<20)
	lines.Split(wholeLines)
	behind := t.again && t.all // and the first event is the next one, unless some are missing
	t.again = true
	for ; lines.Scan(); behind = false {
		var e gatewarden.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("reading an event: %w", err)
		}
		if behind && e.Seq > t.last+1 {
			t.say("The events %d to %d are missing here: at most %d come after a pause, and what is old is not kept.", t.last+1, e.Seq-1, missedEvents)
		}
		if err := t.each(e); err != nil {
			return nil, err
		}
		t.last = e.Seq
	}
	return cmp.Or(lines.Err(), errors.New("the guard has closed it")), nil
}

// wholeLines splits into lines, without what was cut off at the end.
func wholeLines(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}

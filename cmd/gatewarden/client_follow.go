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
)

// missedEvents is how many events are asked for at most that happened while nobody
// followed: as many as the API gives.
const missedEvents = 10_000

// follow calls each with every event as it happens, until ctx ends, which is no error. A
// stream ends when another guard leads, or one is restarted: it is said, and followed again
// behind the last event that came, for as long as it takes.
func (c *client) follow(ctx context.Context, query url.Values, each func(gatewarden.Event) error, say func(format string, args ...any)) error {
	query.Set("follow", "true")
	followed := false
	for retry := firstRetry; ctx.Err() == nil; retry = min(2*retry, lastRetry) {
		resp, err := c.do(ctx, http.MethodGet, "/api/v1/events?"+query.Encode(), nil)
		switch {
		case err == nil:
			followed = true
			began := time.Now()
			why, err := readEvents(resp.Body, query, each)
			_ = resp.Body.Close()
			if err != nil || ctx.Err() != nil {
				return err
			}
			if time.Since(began) > lastRetry {
				retry = firstRetry
			}
			say("The stream of events has ended: %v. It is followed again.", why)
		case ctx.Err() == nil && (!followed || final(err)):
			return err
		}
		_ = pause(ctx, retry)
	}
	return nil // asked to stop
}

// readEvents calls each with the events of a stream until it ends, and returns why it did.
// Query selects from then on what came after them. An error is of what is no event, or of
// each.
func readEvents(stream io.Reader, query url.Values, each func(gatewarden.Event) error) (why, err error) {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 4<<20)
	lines.Split(wholeLines)
	for lines.Scan() {
		var e gatewarden.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("reading an event: %w", err)
		}
		if err := each(e); err != nil {
			return nil, err
		}
		query.Set("since", strconv.FormatUint(e.Seq, 10))
		query.Set("limit", strconv.Itoa(missedEvents))
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

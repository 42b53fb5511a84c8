package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden/internal/loglines"
)

// feeder posts records as Kong does.
type feeder struct {
	url         string
	batch       int
	connections int
	services    int  // how many; ingestServices unless set
	lines       bool // a line a record instead of an array
	cut, twice  int  // each how many-th body is cut before it is sent whole, or sent twice; 0: none
}

// run posts the bodies numbered from first up to end.
func (f feeder) run(ctx context.Context, first, end int) error {
	var wg sync.WaitGroup
	errs := make([]error, f.connections)
	for c := range f.connections {
		wg.Go(func() {
			lines, client := loglines.NewWriter(), &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			var body []byte
			for b := first + c; b < end && errs[c] == nil; b += f.connections {
				body = f.body(body[:0], lines, b)
				errs[c] = f.deliver(ctx, client, b, body)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// body appends a body: one object, an array, or lines.
func (f feeder) body(body []byte, lines *loglines.Writer, number int) []byte {
	open, between, shut := "[", ",", "]"
	switch {
	case f.lines:
		open, between, shut = "", "\n", "\n"
	case f.batch == 1:
		open, shut = "", ""
	}
	body = append(body, open...)
	services := cmp.Or(f.services, ingestServices)
	for i := range f.batch {
		if i > 0 {
			body = append(body, between...)
		}
		id := number*f.batch + i
		body = lines.Append(body, loglines.Line{ID: uint64(id), At: time.Now(), Service: service(id % services), Status: 200, Millis: 2 + id%300})
	}
	return append(body, shut...)
}

// deliver posts a body until it has been taken.
func (f feeder) deliver(ctx context.Context, client *http.Client, number int, body []byte) error {
	if f.cut > 0 && number%f.cut == 0 {
		if err := postCut(ctx, client, f.url, body[:len(body)*2/3]); err != nil {
			return err
		}
	}
	if err := post(ctx, client, f.url, body); err != nil {
		return err
	}
	if f.twice > 0 && number%f.twice == 0 {
		return post(ctx, client, f.url, body)
	}
	return nil
}

// postCut sends the begin of a body as if it were all, and wants it to be refused.
func postCut(ctx context.Context, client *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusBadRequest {
		return fmt.Errorf("a cut body was answered with %s", resp.Status)
	}
	return nil
}

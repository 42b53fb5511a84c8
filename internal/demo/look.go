package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gatewarden/gatewarden"
)

// follow collects the guard's events from its API until ctx ends.
func (s *story) follow(ctx context.Context) {
	for ctx.Err() == nil {
		// The guard's server may not be up yet, or have cut a slow reader off: begin again.
		_ = s.stream(ctx)
		_ = s.pause(ctx, 100*time.Millisecond)
	}
}

func (s *story) stream(ctx context.Context) error {
	s.mu.Lock()
	since := uint64(0)
	if n := len(s.seen); n > 0 {
		since = s.seen[n-1].Seq
	}
	s.mu.Unlock()
	resp, err := s.ask(ctx, http.MethodGet, fmt.Sprintf("%s/api/v1/events?follow=true&since=%d", s.api, since), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e gatewarden.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return err
		}
		s.mu.Lock()
		s.seen = append(s.seen, e)
		s.mu.Unlock()
	}
	return lines.Err()
}

// await waits for an event of the guard and returns the first of them.
func (s *story) await(ctx context.Context, what string, is func(gatewarden.Event) bool) (gatewarden.Event, error) {
	var found gatewarden.Event
	next := 0
	err := s.until(ctx, what, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for ; next < len(s.seen); next++ {
			if is(s.seen[next]) {
				found = s.seen[next]
				return true
			}
		}
		return false
	})
	return found, err
}

// ask sends a request; an answer that is no success is an error.
func (s *story) ask(ctx context.Context, method, url string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return nil, fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, text)
	}
	return resp, nil
}

// get asks for JSON.
func (s *story) get(ctx context.Context, url string, v any) error {
	resp, err := s.ask(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(v)
}

// sloStates returns how many SLOs the guard judges healthy, in breach, inconclusive.
func (s *story) sloStates(ctx context.Context) map[string]int {
	var status struct {
		States map[string]int `json:"slo_states"`
	}
	if s.get(ctx, s.api+"/api/v1/status", &status) != nil {
		return nil // not up yet
	}
	return status.States
}

// setWeight moves traffic as a deploy pipeline does: by the gateway's Admin API.
func (s *story) setWeight(ctx context.Context, slot string, weight int) error {
	b := s.shop.backends[slot]
	body := fmt.Appendf(nil, `{"weight": %d}`, weight)
	resp, err := s.ask(ctx, http.MethodPatch, s.admin+"/upstreams/"+b.service+"/targets/"+b.addr, body)
	if err != nil {
		return fmt.Errorf("moving traffic to %s: %w", slot, err)
	}
	return resp.Body.Close()
}

// leftBehind asks the gateway and Jenkins whether anything is not as before, or was
// done more often than once.
func (s *story) leftBehind(ctx context.Context) error {
	var plugins struct {
		Data []struct{ Name string } `json:"data"`
	}
	if err := s.get(ctx, s.admin+"/plugins?tags=gatewarden", &plugins); err != nil {
		return err
	}
	if n := len(plugins.Data); n > 0 {
		return fmt.Errorf("%d plugins of the guard are still at the gateway", n)
	}
	var targets struct {
		Data []struct {
			Target string
			Weight int
		} `json:"data"`
	}
	if err := s.get(ctx, s.admin+"/upstreams/orders/targets", &targets); err != nil {
		return err
	}
	for _, t := range targets.Data {
		if t.Weight != 100 {
			return fmt.Errorf("the target %s has the weight %d, not the 100 of before", t.Target, t.Weight)
		}
	}
	if runs := s.jenkins.Runs(job); len(runs) != 1 || runs[0].Result != "SUCCESS" {
		return fmt.Errorf("the rollback job ran %d times, not once with success: %+v", len(runs), runs)
	}
	return nil
}

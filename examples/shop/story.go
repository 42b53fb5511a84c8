package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// story breaks v2 and follows what the guard does about it: first in a pipeline, where
// the gate keeps a bad canary from going on, then in the version that is in use, where
// only the guard is awake. It asks everybody from outside, as a person would.
type story struct {
	Guard   string // URL of its API
	Kong    string // URL of the Admin API
	Jenkins string // URL
	User    string // of Jenkins, with a token
	Token   string
	Stable  string // URL of the version of orders that is in use
	Next    string // host:port of the next version, as Kong calls it
	Out     io.Writer
	client  *http.Client
	now     func() time.Time

	mu    sync.Mutex
	seen  []event
	began time.Time
}

// event is what the story needs of an event of the guard.
type event struct {
	Seq      uint64 `json:"seq"`
	Type     string `json:"type"`
	Name     string `json:"name"`
	State    string `json:"state"`
	Severity string `json:"severity"`
	Reason   string `json:"reason"`
	Action   *struct {
		Spec struct {
			Kind string `json:"kind"`
		} `json:"spec"`
	} `json:"action"`
}

// newStory is the verb that tells the story on a stack that runs.
func newStory(env environment) *cobra.Command {
	s := &story{client: &http.Client{}, now: time.Now}
	var tokenFile string
	var budget time.Duration
	cmd := &cobra.Command{
		Use: "story", Short: "Break v2 and follow what the guard does; ends with 0 if all of it happened", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := os.ReadFile(tokenFile)
			if err != nil {
				return fmt.Errorf("the token of Jenkins: %w", err)
			}
			s.Token, s.Out = strings.TrimSpace(string(raw)), cmd.OutOrStdout()
			ctx, cancel := context.WithTimeout(cmd.Context(), budget)
			defer cancel()
			return s.tell(ctx)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.Guard, "guard", env.or("GATEWARDEN_SERVER", "http://127.0.0.1:8080"), "`URL` of the guard's API")
	flags.StringVar(&s.Kong, "kong", env.or("KONG_ADMIN_URL", "http://127.0.0.1:8001"), "`URL` of Kong's Admin API")
	flags.StringVar(&s.Jenkins, "jenkins", env.or("JENKINS_URL", "http://127.0.0.1:8082"), "`URL` of Jenkins")
	flags.StringVar(&s.User, "user", "gatewarden", "`USER` of Jenkins")
	flags.StringVar(&tokenFile, "token-file", env.or("JENKINS_TOKEN_FILE", "/run/secrets/jenkins_token"), "`FILE` with an API token of that user")
	flags.StringVar(&s.Stable, "stable", env.or("SHOP_STABLE_URL", "http://orders-v1:8080"), "`URL` of the version of orders in use")
	flags.StringVar(&s.Next, "next", env.or("SHOP_NEXT", "orders-v2:8080"), "`HOST:PORT` of the next version")
	flags.DurationVar(&budget, "budget", 10*time.Minute, "how much `TIME` the story has")
	return cmd
}

// tell is the story, chapter by chapter. Each waits for what must have happened.
func (s *story) tell(ctx context.Context) error {
	s.began = s.now()
	ctx, stop := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer stop()
	if err := s.peace(ctx); err != nil {
		return fmt.Errorf("healthy traffic: %w", err)
	}
	last, err := s.newest(ctx)
	if err != nil {
		return err
	}
	following.Go(func() { s.follow(ctx, last) })
	for _, chapter := range []struct {
		name string
		tell func(context.Context) error
	}{
		{"the bad canary", s.badCanary},
		{"the way back", s.wayBack},
		{"the outage", s.outage},
		{"the recovery", s.recovery},
	} {
		if err := chapter.tell(ctx); err != nil {
			return fmt.Errorf("%s: %w", chapter.name, err)
		}
	}
	s.say("The bad canary got no further than its share, the outage was contained, and everything is as before.")
	return nil
}

func (s *story) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.Out, "%6.1fs  %s\n", s.now().Sub(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// peace waits until the guard can judge everything and finds it well.
func (s *story) peace(ctx context.Context) error {
	healthy := 0
	err := s.until(ctx, "every SLO is healthy", func() (bool, error) {
		var status struct {
			States map[string]int `json:"slo_states"`
		}
		_, err := call(ctx, s.client, http.MethodGet, s.Guard+"/api/v1/status", nil, &status)
		healthy = status.States["healthy"]
		return err == nil && healthy > 0 && len(status.States) == 1, err
	})
	if err == nil {
		s.say("All is well: the guard judges %d SLOs healthy.", healthy)
	}
	return err
}

// badCanary has the pipeline release a version that fails, and waits for the gate.
func (s *story) badCanary(ctx context.Context) error {
	build, err := s.build(ctx, "shop/orders-deploy", url.Values{"VERSION": {"v2-broken"}})
	if err != nil {
		return err
	}
	s.say("Somebody releases orders v2-broken: Jenkins starts shop/orders-deploy #%d. It fails a third of the requests it gets.", build)
	if _, err := s.await(ctx, "the canary fails", func(e event) bool { return e.Type == "gate" && e.Name == "orders" && e.State == "fail" }); err != nil {
		return err
	}
	return s.until(ctx, "the release has failed", func() (bool, error) {
		var b struct {
			Building bool    `json:"building"`
			Result   *string `json:"result"`
		}
		err := s.askJenkins(ctx, http.MethodGet, fmt.Sprintf("%s/%d/api/json?tree=building,result", jobPath("shop/orders-deploy"), build), nil, &b)
		if err != nil || b.Building || b.Result == nil {
			return false, err
		}
		if *b.Result != "FAILURE" {
			return false, fatal{fmt.Errorf("the release of a bad version ended as %s", *b.Result)}
		}
		s.say("The pipeline ends as %s: nobody else gets v2-broken.", *b.Result)
		return true, nil
	})
}

// wayBack waits until the guard has run the rollback and the canary is out of traffic.
func (s *story) wayBack(ctx context.Context) error {
	if _, err := s.await(ctx, "the rollback job has run", isAction("jenkins", "applied")); err != nil {
		return err
	}
	err := s.until(ctx, "the next version's place is out of traffic", func() (bool, error) {
		weight, err := s.weight(ctx)
		return weight == 0, err
	})
	if err == nil {
		s.say("%s gets no orders any more.", s.Next)
	}
	return err
}

// outage breaks the version in use, for which there is no other, and waits until the
// guard has shed what can be spared.
func (s *story) outage(ctx context.Context) error {
	s.say("Now the version in use breaks: 60 %% of its requests fail.")
	if _, err := call(ctx, s.client, http.MethodPut, s.Stable+"/-/faults", faults{Errors: 0.6}, nil); err != nil {
		return err
	}
	if _, err := s.await(ctx, "the outage is seen", func(e event) bool {
		return e.Type == "slo" && e.Name == "orders-availability" && e.State == "breach" && e.Severity == "outage"
	}); err != nil {
		return err
	}
	_, err := s.await(ctx, "recommendations are shed", isAction("plugin", "applied"))
	return err
}

// recovery mends the version in use and waits until everything is put back.
func (s *story) recovery(ctx context.Context) error {
	if _, err := call(ctx, s.client, http.MethodDelete, s.Stable+"/-/faults", nil, nil); err != nil {
		return err
	}
	s.say("Somebody has found the fault and mended it.")
	if _, err := s.await(ctx, "the shed is taken back", isAction("plugin", "reverted")); err != nil {
		return err
	}
	return s.until(ctx, "nothing of the guard is left in Kong", func() (bool, error) {
		var list struct {
			Data []json.RawMessage `json:"data"`
		}
		_, err := call(ctx, s.client, http.MethodGet, s.Kong+"/plugins?tags=gatewarden", nil, &list)
		return err == nil && len(list.Data) == 0, err
	})
}

func isAction(kind, state string) func(event) bool {
	return func(e event) bool { return e.Action != nil && e.Action.Spec.Kind == kind && e.State == state }
}

// weight returns the weight of the next version's target.
func (s *story) weight(ctx context.Context) (int, error) {
	var list struct {
		Data []struct {
			Target string `json:"target"`
			Weight int    `json:"weight"`
		} `json:"data"`
	}
	if _, err := call(ctx, s.client, http.MethodGet, s.Kong+"/upstreams/orders/targets", nil, &list); err != nil {
		return -1, err
	}
	for _, t := range list.Data {
		if t.Target == s.Next {
			return t.Weight, nil
		}
	}
	return -1, fatal{fmt.Errorf("kong has no target %s", s.Next)}
}

// jobPath is where a job lies: "/job/shop/job/orders-deploy".
func jobPath(name string) string { return "/job/" + strings.ReplaceAll(name, "/", "/job/") }

// build starts a job and returns the number of its build.
func (s *story) build(ctx context.Context, job string, parameters url.Values) (int, error) {
	header := http.Header{}
	err := s.askJenkins(ctx, http.MethodPost, jobPath(job)+"/buildWithParameters?delay=0sec", parameters, &header)
	if err != nil {
		return 0, err
	}
	item, err := url.Parse(header.Get("Location")) // of what Jenkins believes to be its address
	if err != nil {
		return 0, fmt.Errorf("starting %s: where it is queued: %w", job, err)
	}
	_, id, found := strings.Cut(item.Path, "/queue/item/")
	if !found {
		return 0, fmt.Errorf("starting %s: Jenkins says that it is queued at %q", job, header.Get("Location"))
	}
	number := 0
	err = s.until(ctx, "the build begins", func() (bool, error) {
		var q struct {
			Executable struct {
				Number int `json:"number"`
			} `json:"executable"`
		}
		err := s.askJenkins(ctx, http.MethodGet, "/queue/item/"+strings.TrimSuffix(id, "/")+"/api/json", nil, &q)
		number = q.Executable.Number
		return err == nil && number > 0, err
	})
	return number, err
}

// askJenkins sends a form, or nothing, and decodes the answer into v; into a header it
// copies the answer's.
func (s *story) askJenkins(ctx context.Context, method, path string, form url.Values, v any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(s.Jenkins, "/")+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.SetBasicAuth(s.User, s.Token)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if h, ok := v.(*http.Header); ok {
		*h, err = do(s.client, req, nil)
		return err
	}
	_, err = do(s.client, req, v)
	return err
}

// newest returns the position of the guard's newest event.
func (s *story) newest(ctx context.Context) (uint64, error) {
	var list struct {
		Events []event `json:"events"`
	}
	if _, err := call(ctx, s.client, http.MethodGet, s.Guard+"/api/v1/events?limit=1", nil, &list); err != nil || len(list.Events) == 0 {
		return 0, err
	}
	return list.Events[len(list.Events)-1].Seq, nil
}

// follow shows what the guard does and keeps it for await, until ctx ends. A stream
// that breaks is taken up again.
func (s *story) follow(ctx context.Context, last uint64) {
	for ctx.Err() == nil {
		last = s.stream(ctx, last)
		_ = pause(ctx, 500*time.Millisecond) // a ctx that ended ends the loop
	}
}

func (s *story) stream(ctx context.Context, last uint64) uint64 {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/api/v1/events?follow=true&since=%d", s.Guard, last), nil)
	if err != nil {
		return last
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return last
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Seq <= last {
			continue
		}
		last = e.Seq
		s.say("  gatewarden: %s %s: %s", e.Name, cmp.Or(strings.TrimSpace(e.Severity+" "+e.State), e.Type), e.Reason)
		s.mu.Lock()
		s.seen = append(s.seen, e)
		s.mu.Unlock()
	}
	return last
}

// await returns the first event that is what was waited for.
func (s *story) await(ctx context.Context, what string, is func(event) bool) (found event, err error) {
	err = s.until(ctx, what, func() (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.seen {
			if is(e) {
				found = e
				return true, nil
			}
		}
		return false, nil
	})
	return found, err
}

// fatal is an error that waiting does not mend.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// until looks again and again; errors are what it says when the time is over.
func (s *story) until(ctx context.Context, what string, is func() (bool, error)) error {
	var last error
	for {
		done, err := is()
		if done && err == nil {
			return nil
		}
		if _, ok := errors.AsType[fatal](err); ok {
			return err
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		if pause(ctx, 200*time.Millisecond) != nil {
			return errors.Join(fmt.Errorf("waited in vain until %s", what), last)
		}
	}
}

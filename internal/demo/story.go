// Package demo tells the whole story of a guard on one machine: a shop with real
// HTTP traffic behind a stand-in for Kong, a bad release, and what the guard does
// about it. The guard is the real program, started as `gatewarden run` starts it;
// its stand-in neighbours are in internal/fakekong and internal/fakejenkins.
package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/app"
)

// Options say how to tell the story.
type Options struct {
	Out    io.Writer
	Logger *slog.Logger
	Once   bool                        // end when the story is over; otherwise stay until ctx ends
	API    string                      // where the guard's API listens
	Paint  func(kind, s string) string // colours: kind is good, bad, note or faint
	// Failpoint is handed to the guard; see actions.Config.
	Failpoint func(name string)
}

// budget bounds the story: what has not happened by then does not happen. It takes half a
// minute, and longer on a machine that is busy with something else.
const budget = 3 * time.Minute

// Run tells the story. The error says which part of it did not happen.
func Run(ctx context.Context, opts Options) error {
	dir, err := os.MkdirTemp("", "gatewarden-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := openWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	config, err := writeFiles(dir, opts.API, "127.0.0.1:0", w.admin, w.jenkinsURL)
	if err != nil {
		return fmt.Errorf("writing the guard's files: %w", err)
	}
	guard, err := app.New(ctx, app.Options{ConfigFile: config, Env: os.LookupEnv, Logger: opts.Logger, Failpoint: opts.Failpoint})
	if err != nil {
		return fmt.Errorf("starting the guard: %w", err)
	}
	if err := w.logTo("http://" + guard.Addr("ingest") + "/ingest/kong"); err != nil {
		return err
	}

	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	var guardErr error
	running.Go(func() {
		guardErr = guard.Run(ctx)
		stop() // without a guard there is no story
	})
	running.Go(func() { w.traffic.run(ctx) })
	s := &story{Options: opts, world: w, began: time.Now(), api: "http://" + guard.Addr("api"), dir: dir, client: &http.Client{}}
	running.Go(func() { s.follow(ctx) })
	err = s.tell(ctx)
	if err == nil && !opts.Once {
		s.stay(ctx)
	}
	stop()
	running.Wait()
	if guardErr != nil {
		return fmt.Errorf("the guard stopped: %w", guardErr)
	}
	return err
}

// story is the telling: it does what people do, waits for what the guard does, and
// says both.
type story struct {
	Options
	*world
	began  time.Time
	api    string
	dir    string
	client *http.Client
	broke  time.Time // when v2 got traffic

	mu   sync.Mutex
	seen []gatewarden.Event // the guard's timeline, as its API shows it
}

// say prints one line of the story with its time.
func (s *story) say(kind, format string, args ...any) {
	fmt.Fprintf(s.Out, "%5.1fs  %s\n", time.Since(s.began).Seconds(), s.Paint(kind, fmt.Sprintf(format, args...)))
}

func (s *story) plain(format string, args ...any) { fmt.Fprintf(s.Out, format+"\n", args...) }

// tell is the story, chapter by chapter. Each waits for what must have happened.
func (s *story) tell(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	s.plain("A small shop behind a Kong gateway: orders, payments, inventory, recommendations.")
	s.plain("150 real HTTP requests a second go through the gateway, which posts its log to gatewarden.")
	s.plain("The promise to the customers: 99.9 %% of orders succeed.\n")
	s.say("note", "The guard's API is %s, its files are in %s", s.api, s.dir)
	for _, chapter := range []struct {
		name string
		tell func(context.Context) error
	}{
		{"healthy traffic", s.peace},
		{"the bad release", s.release},
		{"the answer at the gateway", s.degrade},
		{"the rollback", s.rollback},
		{"putting everything back", s.putBack},
		{"the end", s.end},
	} {
		if err := chapter.tell(ctx); err != nil {
			return fmt.Errorf("%s: %w", chapter.name, err)
		}
	}
	return nil
}

// peace waits until the guard has judged every SLO healthy.
func (s *story) peace(ctx context.Context) error {
	s.say("faint", "The shop opens. orders runs as v1; v2 is deployed beside it and gets no traffic yet.")
	err := s.until(ctx, "the guard judges all three SLOs healthy", func() bool {
		return s.sloStates(ctx)["healthy"] == 3
	})
	if err != nil {
		return err
	}
	if err := s.pause(ctx, 4*time.Second); err != nil {
		return err
	}
	s.traffic.take()
	if err := s.pause(ctx, time.Second); err != nil {
		return err
	}
	s.say("good", "All SLOs are healthy. %s", s.customers())
	return nil
}

// release gives v2 half of the traffic. It fails every request.
func (s *story) release(ctx context.Context) error {
	s.shop.backends["orders/v2"].broken.Store(true)
	if err := s.setWeight(ctx, "orders/v2", 100); err != nil {
		return err
	}
	s.broke = time.Now()
	s.say("bad", "Somebody releases orders v2 to half of the customers. It fails every request.")
	return nil
}

// degrade waits for the outage line, the drain and the shed.
func (s *story) degrade(ctx context.Context) error {
	e, err := s.await(ctx, "the outage is seen", func(e gatewarden.Event) bool {
		return e.Type == gatewarden.EventSLO && e.Name == "orders-availability" && e.State == "breach" && e.Severity == "outage"
	})
	if err != nil {
		return err
	}
	s.say("bad", "The guard sees it, %.1f s after the release: %s", e.At.Sub(s.broke).Seconds(), e.Reason)
	for _, step := range []gatewarden.StepKind{gatewarden.StepDrain, gatewarden.StepPlugin} {
		e, err := s.await(ctx, string(step)+" applied", isAction("protect-orders", step, gatewarden.ActionApplied))
		if err != nil {
			return err
		}
		s.say("note", "It acts at the gateway: %s", e.Action.Change)
	}
	return nil
}

// rollback waits for the page and the job that it starts.
func (s *story) rollback(ctx context.Context) error {
	e, err := s.await(ctx, "the rollback job ends", isAction("roll-back-orders", gatewarden.StepJenkins, gatewarden.ActionApplied))
	if err != nil {
		return err
	}
	s.say("note", "The error budget burns, so it has run the rollback job, once: %s", e.Action.Change)
	if _, err = s.await(ctx, "the outage is over", func(e gatewarden.Event) bool {
		return e.Type == gatewarden.EventSLO && e.Name == "orders-availability" && e.State == "healthy" && e.Severity == "outage"
	}); err != nil {
		return err
	}
	s.traffic.take()
	if err := s.pause(ctx, time.Second); err != nil {
		return err
	}
	s.say("good", "Orders are well again. %s", s.customers())
	return nil
}

// putBack waits until the steps are undone, the last one first.
func (s *story) putBack(ctx context.Context) error {
	s.say("faint", "The guard waits until orders have been well for 8 s before each step back.")
	for _, step := range []gatewarden.StepKind{gatewarden.StepPlugin, gatewarden.StepDrain} {
		e, err := s.await(ctx, string(step)+" reverted", isAction("protect-orders", step, gatewarden.ActionReverted))
		if err != nil {
			return err
		}
		s.say("note", "It puts back: %s", e.Reason)
	}
	return nil
}

// end checks that everything is as before, from outside the guard.
func (s *story) end(ctx context.Context) error {
	if err := s.until(ctx, "recommendations answer again", func() bool {
		s.traffic.take()
		if s.pause(ctx, time.Second) != nil {
			return false
		}
		got := s.traffic.take()
		return got["recommendations"].ok > 0 && got["recommendations"].shed == 0 && got["orders"].failed == 0
	}); err != nil {
		return err
	}
	if err := s.leftBehind(ctx); err != nil {
		return err
	}
	s.traffic.take()
	if err := s.pause(ctx, time.Second); err != nil {
		return err
	}
	s.say("good", "Everything is as before. %s", s.customers())
	s.plain("\n%s", s.Paint("good", "The bad release was caught, degraded, rolled back and cleaned up. Nobody was woken."))
	return nil
}

// isAction selects the event of an action of a policy that came to a status.
func isAction(policy string, kind gatewarden.StepKind, status gatewarden.ActionStatus) func(gatewarden.Event) bool {
	return func(e gatewarden.Event) bool {
		return e.Action != nil && e.Action.Policy == policy && e.Action.Spec.Kind == kind && e.State == string(status)
	}
}

// customers says what the customers got since the last look.
func (s *story) customers() string {
	got := s.traffic.take()
	parts := make([]string, 0, len(perSecond))
	for _, c := range perSecond {
		o := got[c.service]
		part := fmt.Sprintf("%s: %d ok", c.service, o.ok)
		if o.failed > 0 {
			part += fmt.Sprintf(", %d failed", o.failed)
		}
		if o.shed > 0 {
			part += fmt.Sprintf(", %d shed", o.shed)
		}
		parts = append(parts, part)
	}
	return "Customers, in the last second: " + strings.Join(parts, "; ")
}

// stay keeps everything up and says where to look, until ctx ends.
func (s *story) stay(ctx context.Context) {
	s.plain(`
Everything stays up until you press Ctrl-C. Look around, in another terminal:

  export GATEWARDEN_SERVER=%s
  gatewarden slo                       the SLOs and their budgets
  gatewarden slo orders-availability   one of them, with the evidence
  gatewarden actions                   what was done
  gatewarden events --follow           the timeline
  curl $GATEWARDEN_SERVER/metrics      for Prometheus

The rules are in %s:
change them, and they are in force two seconds later.
`, s.api, filepath.Join(s.dir, "rules", "shop.yaml"))
	<-ctx.Done()
}

// pause lets time pass.
func (s *story) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// until waits for something that can be looked at.
func (s *story) until(ctx context.Context, what string, is func() bool) error {
	for !is() {
		if err := s.pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("waited in vain until %s", what)
		}
	}
	return nil
}

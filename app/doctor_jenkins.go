package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// jenkins asks the controller.
func (d *doctor) jenkins(ctx context.Context) {
	cfg := d.set.config.Jenkins
	if cfg.URL == "" {
		return
	}
	d.peer = "jenkins"
	e, err := jenkinsExecutor(cfg, d.opts.Now, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		d.failed("login", err)
		return
	}
	who, err := e.Controller(ctx)
	if err != nil {
		d.failed("login", err)
		return
	}
	switch {
	case who.User == "" && cfg.User == "":
		d.doubt("login", "jenkins: {user: gatewarden, token_file: PATH}   # in "+d.set.config.File, "Jenkins %s takes the guard for nobody in particular", who.Version)
	case who.User == "":
		d.trouble("login", "create an API token for "+cfg.User+" under USER, Security", "Jenkins %s takes the guard for nobody, and not for %s", who.Version, cfg.User)
	default:
		d.fine("login", "Jenkins %s at %s knows the guard as %s", who.Version, withoutUser(cfg.URL), who.User)
	}
	if !cfg.Password.IsZero() || cfg.PasswordFile != "" {
		d.doubt("token", "jenkins: {token_file: PATH} instead of a password", "a password needs a crumb for each session; an API token needs none")
	}
	if t, err := transport(cfg.CAFile); err == nil {
		d.clock(ctx, cfg.URL, t)
	}
	if who.Quieting {
		d.trouble("quiet", "curl -X POST -u USER:TOKEN "+withoutUser(cfg.URL)+"/cancelQuietDown", "Jenkins prepares to shut down: builds are queued and do not start")
	}
	asked := map[string]bool{}
	for i := range d.set.rules.Policies {
		p := &d.set.rules.Policies[i]
		for k, s := range p.Steps {
			if s.Jenkins == nil {
				continue
			}
			step := policyStep{p, k, s}
			if err := e.Preflight(ctx, s); err != nil {
				d.step(&step, err)
				continue
			}
			d.fine("jobs", "%s: the job %s declares what it is given", &step, s.Jenkins.Job)
			if job := s.Jenkins.Job; !asked[job] {
				asked[job] = true
				if err := e.MayBuild(ctx, job); err != nil {
					d.step(&step, err)
				} else {
					d.fine("permission", "the job %s may be built", job)
				}
			}
		}
	}
}

// step tells why a step would not work.
func (d *doctor) step(s *policyStep, err error) {
	err = fmt.Errorf("%s: %w", s, err)
	if s.observes() || gatewarden.ErrorCode(err) == gatewarden.Unavailable {
		d.doubtful("jobs", err)
		return
	}
	d.failed("jobs", err)
}

// tells looks at those whom steps tell of things, without telling them anything.
func (d *doctor) tells(ctx context.Context) {
	d.peer = "notify"
	for i := range d.set.rules.Policies {
		p := &d.set.rules.Policies[i]
		for k, s := range p.Steps {
			step := policyStep{p, k, s}
			switch {
			case s.Webhook != nil:
				d.told(&step, s.Webhook.URLFile, s.Webhook.BearerTokenFile)
			case s.Slack != nil:
				d.told(&step, s.Slack.URLFile)
			case s.Alertmanager != nil:
				if d.told(&step, s.Alertmanager.BearerTokenFile) {
					d.alertmanager(ctx, &step)
				}
			}
		}
	}
}

// told looks whether the files of a step can be read.
func (d *doctor) told(s *policyStep, files ...string) bool {
	var read []string
	for _, f := range files {
		if f == "" {
			continue
		}
		content, err := os.ReadFile(f)
		if err != nil || strings.TrimSpace(string(content)) == "" {
			if err == nil {
				err = fmt.Errorf("%s is empty", f)
			}
			d.trouble("files", "write the secret into "+f, "%s: %v", s, err)
			return false
		}
		read = append(read, f)
	}
	if len(read) > 0 {
		d.fine("files", "%s: %s can be read", s, strings.Join(slices.Compact(read), " and "))
	}
	return true
}

// alertmanager asks whether it is ready.
func (d *doctor) alertmanager(ctx context.Context, s *policyStep) {
	address := strings.TrimSuffix(s.step.Alertmanager.URL, "/")
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/-/ready", nil)
	if err != nil {
		d.trouble("alertmanager", "", "%s: %v", s, err)
		return
	}
	t, err := transport("")
	if err != nil {
		d.failed("alertmanager", err)
		return
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		d.trouble("alertmanager", "curl "+withoutUser(address)+"/-/ready", "%s: the Alertmanager does not answer: %v", s, plainNet(err))
		return
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		d.trouble("alertmanager", "curl "+withoutUser(address)+"/-/ready", "%s: the Alertmanager answers %s", s, resp.Status)
		return
	}
	d.fine("alertmanager", "%s: the Alertmanager at %s is ready", s, withoutUser(address))
}

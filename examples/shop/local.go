package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden/internal/fakejenkins"
	"github.com/gatewarden/gatewarden/internal/fakekong"
)

// local is the whole story on one machine without Docker: the services and their
// customers in this process, stand-ins for Kong and Jenkins beside them, and the real
// guard as a process of its own, with the rules and the configuration that the
// containers use.
type local struct {
	Guard  string // the program
	Config string // gatewarden.yaml
	API    string // where the guard's API listens; port 0 takes any
	Rate   float64
	Story  bool // tell the story and end
	Out    io.Writer
	Logger *slog.Logger

	dir                      string // what is left of it is removed at the end
	kong                     *fakekong.Kong
	jenkins                  *fakejenkins.Server
	addresses                map[string]string // host:port by instance: "orders-v1"
	admin, proxy, jenkinsURL string
	guardURL, ingest         string
	running                  sync.WaitGroup
}

// token is that of the stand-in for Jenkins, which nobody else can reach.
const token = "11c0ffee00c0ffee00c0ffee00c0ffee00"

// newLocal is the verb of `make shop`.
func newLocal(logger *slog.Logger) *cobra.Command {
	l := &local{Logger: logger}
	cmd := &cobra.Command{
		Use: "local", Short: "Run shop, customers and guard on this machine, with stand-ins for Kong and Jenkins", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l.Out = cmd.OutOrStdout()
			return l.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&l.Guard, "gatewarden", "bin/gatewarden", "the guard's `PROGRAM`")
	cmd.Flags().StringVar(&l.Config, "config", "examples/shop/local.yaml", "the guard's configuration `FILE`")
	cmd.Flags().StringVar(&l.API, "api", "127.0.0.1:8080", "the `ADDRESS` of the guard's API")
	cmd.Flags().Float64Var(&l.Rate, "rate", 60, "`REQUESTS` a second")
	cmd.Flags().BoolVar(&l.Story, "story", false, "break v2, follow what happens, and end with 0 if all of it did")
	return cmd
}

// run starts everything, and ends with the story, or with ctx.
func (l *local) run(ctx context.Context) (err error) {
	if l.dir, err = os.MkdirTemp("", "gatewarden-shop-"); err != nil {
		return err
	}
	defer os.RemoveAll(l.dir)
	defer l.running.Wait()
	world, stopWorld := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the guard
	defer stopWorld()
	for _, step := range []struct {
		name string
		open func(context.Context) error
	}{{"the shop", l.openShop}, {"the gateway", l.openKong}, {"Jenkins", l.openJenkins}} {
		if err := step.open(world); err != nil {
			return fmt.Errorf("starting %s: %w", step.name, err)
		}
	}
	if err := l.declare(ctx); err != nil {
		return fmt.Errorf("declaring the shop at the gateway: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	guard := make(chan error, 1)
	if err := l.openGuard(ctx, guard); err != nil {
		return fmt.Errorf("starting the guard: %w", err)
	}
	defer func() {
		stop()
		err = errors.Join(err, <-guard)
	}()
	if err := l.awaitGuard(ctx, guard); err != nil {
		return err
	}
	if err := l.openTraffic(ctx); err != nil {
		return err
	}
	if l.Story {
		return l.tell(ctx)
	}
	fmt.Fprintf(l.Out, `
Shop, customers and guard are up until you press Ctrl-C.

  guard          %s
  shop           %s/orders
  Kong, admin    %s
  Jenkins        %s

Break something, from another terminal:

  go run ./examples/shop deploy canary v2-broken --kong %s --stable %s --next %s
  go run ./examples/shop faults --errors 60%% --url http://%s      # mend it: the same without --errors

and look at it:

  export GATEWARDEN_SERVER=%[1]s
  %[9]s gate orders       # may v2-broken go on?
  %[9]s events --follow
`, l.guardURL, l.proxy, l.admin, l.jenkinsURL, l.admin, l.addresses["orders-v1"], l.addresses["orders-v2"], l.addresses["orders-v1"], l.Guard)
	<-ctx.Done()
	return nil
}

// serve serves h on an address of its own and returns it as host:port.
func (l *local) serve(ctx context.Context, name string, h http.Handler) (string, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	l.running.Go(func() {
		if err := serve(ctx, listener, h); err != nil {
			l.Logger.Error("stopped serving", "name", name, "error", err)
		}
	})
	return listener.Addr().String(), nil
}

// closeWith closes something when ctx ends.
func (l *local) closeWith(ctx context.Context, end func()) {
	l.running.Go(func() {
		<-ctx.Done()
		end()
	})
}

// openShop starts an instance of each service, and two of orders.
func (l *local) openShop(ctx context.Context) error {
	l.addresses = map[string]string{}
	for _, name := range []string{"inventory", "payments", "recommendations", "orders-v1", "orders-v2"} {
		service, _, isOrders := strings.Cut(name, "-")
		peers := map[string]string{}
		if isOrders {
			peers["inventory"], peers["payments"] = "http://"+l.addresses["inventory"], "http://"+l.addresses["payments"]
		}
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
		s, err := newService(service, "v1", peers, client, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		if l.addresses[name], err = l.serve(ctx, name, s.handler(func(h http.Handler) http.Handler { return h })); err != nil {
			return err
		}
	}
	return nil
}

func (l *local) openKong(ctx context.Context) error {
	l.kong = fakekong.New(fakekong.Config{Logger: l.Logger})
	l.closeWith(ctx, l.kong.Close)
	admin, err := l.serve(ctx, "kong admin", l.kong.Admin())
	if err != nil {
		return err
	}
	proxy, err := l.serve(ctx, "kong proxy", l.kong.Proxy())
	l.admin, l.proxy = "http://"+admin, "http://"+proxy
	return err
}

// openJenkins starts a Jenkins with the two jobs. Their pipelines are those of
// examples/ci/jenkins, said in Go.
func (l *local) openJenkins(ctx context.Context) error {
	l.jenkins = fakejenkins.New(fakejenkins.Config{
		QuietPeriod: time.Second,
		Users:       []fakejenkins.User{{Name: "gatewarden", Tokens: []string{token}, Permissions: fakejenkins.Operator()}},
	})
	l.closeWith(ctx, l.jenkins.Close)
	address, err := l.serve(ctx, "jenkins", l.jenkins)
	l.jenkinsURL = "http://" + address
	l.jenkins.SetJob(fakejenkins.Job{Name: "shop/orders-deploy", Serial: true, Parameters: []fakejenkins.Parameter{{Name: "VERSION"}}, Pipeline: l.deploy})
	l.jenkins.SetJob(fakejenkins.Job{
		Name: "shop/orders-rollback", Serial: true, Parameters: []fakejenkins.Parameter{{Name: "SERVICE"}, {Name: "GATEWARDEN_ACTION"}},
		Pipeline: func(ctx context.Context, b *fakejenkins.Build) error { return l.deployment(b).back(ctx, "") },
	})
	return err
}

func (l *local) deployment(out io.Writer) *deployment {
	stable, next := l.addresses["orders-v1"], l.addresses["orders-v2"]
	return &deployment{Kong: l.admin, Stable: "http://" + stable, Next: "http://" + next, StableT: stable, NextT: next, Out: out, client: &http.Client{}}
}

// deploy is the pipeline of orders-deploy: a canary, the gate, and what becomes of it.
func (l *local) deploy(ctx context.Context, b *fakejenkins.Build) error {
	d, version := l.deployment(b), b.Parameter("VERSION")
	err := d.canary(ctx, version)
	if err == nil {
		gate := exec.CommandContext(ctx, l.Guard, "gate", "orders", "--server", l.guardURL, "--param", "version="+version,
			"--key", fmt.Sprintf("orders-deploy-%d", b.Number))
		gate.Stdout, gate.Stderr = b, b
		gate.Cancel = func() error { return gate.Process.Signal(syscall.SIGTERM) }
		gate.WaitDelay = 10 * time.Second
		err = gate.Run()
	}
	if err == nil {
		err = d.everywhere(ctx, version)
	}
	if err != nil {
		err = errors.Join(err, d.back(context.WithoutCancel(ctx), ""))
	}
	return err
}

// openGuard starts the guard's process; its end, at ctx's, goes to ended.
func (l *local) openGuard(ctx context.Context, ended chan<- error) error {
	program, err := exec.LookPath(l.Guard)
	if err != nil {
		return fmt.Errorf("%w (make build makes it)", err)
	}
	if l.Guard, err = filepath.Abs(program); err != nil {
		return err
	}
	if l.API, err = free(ctx, l.API); err != nil {
		return err
	}
	tokenFile, logFile := filepath.Join(l.dir, "jenkins-token"), filepath.Join(l.dir, "gatewarden.log")
	if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
		return err
	}
	log, err := os.Create(logFile)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, l.Guard, "run", "--config", l.Config)
	cmd.Env = slices.Concat(os.Environ(), []string{
		"GATEWARDEN_API=" + l.API, "GATEWARDEN_INGEST=" + l.ingest, "GATEWARDEN_STATE=" + filepath.Join(l.dir, "data"),
		"KONG_ADMIN_URL=" + l.admin, "JENKINS_URL=" + l.jenkinsURL, "JENKINS_TOKEN_FILE=" + tokenFile,
	})
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	l.guardURL = "http://" + l.API
	if err := cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	l.running.Go(func() {
		defer log.Close()
		err := cmd.Wait()
		if err != nil && ctx.Err() != nil {
			err = nil // it was told to end
		} else if err == nil && ctx.Err() == nil {
			err = errors.New("it ended by itself")
		}
		if err != nil {
			text, _ := os.ReadFile(logFile)
			err = fmt.Errorf("the guard: %w\n%s", err, text[max(0, len(text)-4000):])
		}
		ended <- err
		close(ended)
	})
	return nil
}

// free returns an address that nobody listens on: the one that is wanted, if its port
// is not 0.
func free(ctx context.Context, wanted string) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", wanted)
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// awaitGuard returns when the guard is ready, or has ended.
func (l *local) awaitGuard(ctx context.Context, ended <-chan error) error {
	for {
		select {
		case err := <-ended:
			return err
		default:
		}
		if _, err := call(ctx, http.DefaultClient, http.MethodGet, l.guardURL+"/-/ready", nil, nil); err == nil {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// declare declares the shop at the gateway, before the guard looks at it.
func (l *local) declare(ctx context.Context) (err error) {
	if l.ingest, err = free(ctx, "127.0.0.1:0"); err != nil {
		return err
	}
	g := gateway{Admin: l.admin, LogTo: "http://" + l.ingest + "/ingest/kong", Delay: 0.2, client: &http.Client{}}
	for _, name := range []string{"orders-v1", "orders-v2", "payments", "inventory", "recommendations"} {
		service, version, _ := strings.Cut(name, "-")
		i := instance{service, l.addresses[name], version, 100}
		switch version {
		case "":
			i.version = "v1"
		case "v2":
			i.weight = 0
		}
		g.Instances = append(g.Instances, i)
	}
	return g.declare(ctx)
}

// openTraffic sends the customers, once the gateway has opened.
func (l *local) openTraffic(ctx context.Context) error {
	customers := &load{Gateway: l.proxy, Rate: l.Rate, Most: 500}
	if err := customers.await(ctx); err != nil {
		return err
	}
	l.running.Go(func() { customers.run(ctx) })
	l.running.Go(func() {
		for pause(ctx, 10*time.Second) == nil {
			l.Logger.Info("customers", "served", describe(customers.take()))
		}
	})
	return nil
}

// tell tells the story on what runs here.
func (l *local) tell(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	s := &story{
		Guard: l.guardURL, Kong: l.admin, Jenkins: l.jenkinsURL, User: "gatewarden", Token: token,
		Stable: "http://" + l.addresses["orders-v1"], Next: l.addresses["orders-v2"], Out: l.Out, client: &http.Client{}, now: time.Now,
	}
	return s.tell(ctx)
}

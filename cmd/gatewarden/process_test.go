package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
)

// giveUpAfter bounds every wait. It says nothing about how long things should take: it
// only ends a test that would never end.
const giveUpAfter = 3 * time.Minute

// process is one life of the real program, with its own log.
type process struct {
	cmd    *exec.Cmd
	log    string // the file that it logs to, as JSON lines
	ended  chan struct{}
	api    string // base URLs, once it is up
	ingest string
}

// startProcess starts `gatewarden run` on a configuration and waits until it guards
// or has ended. env is added to the environment.
func startProcess(t *testing.T, config string, env ...string) *process {
	t.Helper()
	p := launchProcess(t, config, env...)
	p.untilUpOrOver(t)
	return p
}

// launchProcess is startProcess without waiting.
func launchProcess(t *testing.T, config string, env ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.CreateTemp(filepath.Dir(config), "guard-*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the child has a descriptor of its own
	p := &process{log: log.Name(), ended: make(chan struct{}), cmd: exec.Command(self, "run", "-c", config)}
	p.cmd.Env = append(append(os.Environ(), mainEnv+"=1"), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // what it ended with is in ProcessState
	}()
	t.Cleanup(func() { p.cleanUp(t) })
	return p
}

// freeAddress returns an address of loopback that nobody listens on, for TCP and for UDP. It
// is below those that systems give to whoever asks for any: one of these may be another
// test's, or a connection's, by the time that a guard listens there.
func freeAddress() (string, error) {
	for range 100 {
		address := fmt.Sprint("127.0.0.1:", 20000+rand.IntN(12000))
		tcp, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		udp, err := net.ListenPacket("udp", address)
		tcp.Close()
		if err == nil {
			return address, udp.Close()
		}
	}
	return "", errors.New("no port is free")
}

// freeAddr is freeAddress for a test.
func freeAddr(t *testing.T) string {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func (p *process) untilUpOrOver(t *testing.T) {
	t.Helper()
	eventually(t, "the guard to come up", func() error {
		if p.over() || p.up() {
			return nil
		}
		return fmt.Errorf("it is neither up nor over; its log:\n%s", p.tail())
	})
}

// cleanUp ends what a test left running, and shows what it said if the test failed.
func (p *process) cleanUp(t *testing.T) {
	if !p.over() {
		p.signal(t, syscall.SIGKILL)
		<-p.ended
	}
	said := p.said()
	if strings.Contains(said, "DATA RACE") {
		t.Errorf("the guard has a data race:\n%s", said)
	} else if t.Failed() {
		t.Logf("the guard (process %d) said:\n%s", p.cmd.Process.Pid, p.tail())
	}
}

// up reports whether it guards, and learns its addresses.
func (p *process) up() bool {
	for line := range strings.Lines(p.said()) {
		var l struct{ Msg, API, Ingest string }
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "guarding" {
			p.api, p.ingest = "http://"+l.API, "http://"+l.Ingest
			return true
		}
	}
	return false
}

func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *process) said() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// tail returns the end of what it said.
func (p *process) tail() string {
	lines := strings.SplitAfter(p.said(), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "")
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !p.over() {
		t.Fatalf("sending %v: %v", s, err)
	}
}

// kill ends it as kill -9 does.
func (p *process) kill(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	<-p.ended
}

// killed reports whether SIGKILL ended it.
func (p *process) killed() bool {
	if !p.over() {
		return false
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// exitCode waits for its end.
func (p *process) exitCode(t *testing.T) int {
	t.Helper()
	eventually(t, "the guard to end", func() error {
		if p.over() {
			return nil
		}
		return fmt.Errorf("it still runs; its log:\n%s", p.tail())
	})
	return p.cmd.ProcessState.ExitCode()
}

// get asks the guard's API and decodes the answer.
func (p *process) get(path string, v any) error {
	resp, err := httpClient().Get(p.api + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, body)
	}
	return json.Unmarshal(body, v)
}

// events returns the timeline after a position.
func (p *process) events(since uint64) ([]gatewarden.Event, error) {
	var list api.EventList
	err := p.get(fmt.Sprintf("/api/v1/events?limit=10000&since=%d", since), &list)
	return list.Events, err
}

// slo returns an SLO with its last verdict.
func (p *process) slo(name string) (api.SLO, error) {
	var s api.SLO
	err := p.get("/api/v1/slos/"+name, &s)
	return s, err
}

// counted waits for a verdict on the orders and returns how many it counts.
func (p *process) counted(t *testing.T) (requests int) {
	t.Helper()
	eventually(t, "the SLO to be judged", func() error {
		s, err := p.slo("orders-availability")
		if err == nil && s.Verdict.SLO == nil {
			err = errors.New("no verdict yet")
		}
		if err == nil {
			requests = int(s.Verdict.SLO.Count.Total())
		}
		return err
	})
	return requests
}

// status returns the guard at a glance.
func (p *process) status() (api.Status, error) {
	var s api.Status
	err := p.get("/api/v1/status", &s)
	return s, err
}

// metric returns the value of a sample as /metrics shows it, with its labels if it
// has any.
func (p *process) metric(sample string) (float64, error) {
	resp, err := httpClient().Get(p.api + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, sample+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("/metrics has no sample %s", sample)
}

// post posts a body to the guard's ingest address and returns the answer.
func (p *process) post(path string, body []byte, headers ...string) (int, string, error) {
	req, err := http.NewRequest(http.MethodPost, p.ingest+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := httpClient().Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

// httpClient returns a client that gives up before a test does.
func httpClient() *http.Client { return &http.Client{Timeout: giveUpAfter / 3} }

// eventually calls check until it returns nil, and fails the test with its last
// error when that takes longer than giveUpAfter.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(giveUpAfter)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s: %v", giveUpAfter, what, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

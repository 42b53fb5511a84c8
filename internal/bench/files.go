package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/gatewarden/gatewarden/internal/loglines"
)

// What the table of files and sockets feeds.
const (
	fileLines = 400_000
	mtailPart = 10 // of the lines, as it needs ten times as long
	tcpWrite  = 20 // lines
)

// files prints what a record costs that comes by a file or a TCP connection.
func files(ctx context.Context) error {
	heading("Taking in Kong's log from a file and by TCP", fmt.Sprintf("Processor time of the whole process, from its start, for %d records, a line each.", fileLines))
	dir, err := os.MkdirTemp("", "gatewarden-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log := filepath.Join(dir, "kong.log")
	if err := writeLog(log, fileLines); err != nil {
		return err
	}
	if err := measureSource(ctx, "gatewarden run, filelog", fmt.Sprintf("filelog: {paths: [%q], from: beginning}", log), nil); err != nil {
		return err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	err = measureSource(ctx, fmt.Sprintf("gatewarden run, tcplog, %d lines a write", tcpWrite), fmt.Sprintf("tcplog: {listen: %q}", address),
		func() error { return sendLines(ctx, address, fileLines) })
	if err != nil {
		return err
	}
	return mtail(ctx, dir)
}

func printCost(name string, cost time.Duration, records int, peak string) {
	fmt.Printf("  %-52s  %8.2f µs a record  %s\n", name, cost.Seconds()*1e6/float64(records), peak)
}

// measureSource starts a guard with one source, gives it the lines, and waits until it has
// counted them.
func measureSource(ctx context.Context, name, source string, send func() error) error {
	g, err := startBinary(ctx, guardRules(), source)
	if err != nil {
		return err
	}
	defer g.end()
	if send != nil {
		if err := send(); err != nil {
			return err
		}
	}
	for counted := 0; counted < fileLines; time.Sleep(20 * time.Millisecond) {
		if counted, _, err = countedBy(ctx, g.api); err != nil {
			return err
		}
	}
	cost, err := cpuOf(g.process.Pid)
	if err != nil {
		return err
	}
	peak, err := memory(g.process.Pid, "VmHWM")
	printCost(name, cost, fileLines, fmt.Sprintf("%6d MB at the peak", peak>>10))
	return err
}

// writeLog writes lines as Kong's file-log does.
func writeLog(path string, n int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	lines, line := loglines.NewWriter(), []byte(nil)
	for i := range n {
		line = appendLine(line[:0], lines, i)
		if _, err := w.Write(line); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(w.Flush(), f.Close())
}

func appendLine(line []byte, lines *loglines.Writer, i int) []byte {
	line = lines.Append(line, loglines.Line{ID: uint64(i), At: time.Now(), Service: service(i % ingestServices), Status: 200, Millis: 2 + i%300})
	return append(line, '\n')
}

// sendLines sends lines as Kong's tcp-log does, some at once.
func sendLines(ctx context.Context, address string, n int) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	lines, some := loglines.NewWriter(), []byte(nil)
	for i := range n {
		some = appendLine(some, lines, i)
		if (i+1)%tcpWrite > 0 && i+1 < n {
			continue
		}
		if _, err := conn.Write(some); err != nil {
			return errors.Join(err, conn.Close())
		}
		some = some[:0]
	}
	return conn.Close()
}

// freeAddress returns an address at which nobody listens.
func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// mtailProgram counts the same: requests by service, route and status, and latencies.
const mtailProgram = `
counter requests by service, route, code
histogram latency buckets 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000 by service
/"latencies":\{[^}]*"request":(?P<ms>\d+)/ {
  /"service":\{[^}]*"name":"(?P<service>[^"]+)"/ {
    /"route":\{.*"name":"(?P<route>[^"]+)"/ {
      /"status":(?P<code>\d+)/ {
        requests[$service][$route][$code]++
        latency[$service] = $ms
      }
    }
  }
}
`

// mtail measures mtail, where it is installed.
func mtail(ctx context.Context, dir string) error {
	path, err := exec.LookPath("mtail")
	if errors.Is(err, exec.ErrNotFound) {
		fmt.Printf("  %-52s  not measured: it is not installed\n", "mtail, one-shot over the file")
		return nil
	}
	if err != nil {
		return err
	}
	log, program := filepath.Join(dir, "part.log"), filepath.Join(dir, "kong.mtail")
	if err := firstError(writeLog(log, fileLines/mtailPart), os.WriteFile(program, []byte(mtailProgram), 0o600)); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, "-one_shot", "-logtostderr", "-progs", program, "-logs", log, "-port", "0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mtail: %w\n%s", err, out)
	}
	printCost("mtail, one-shot over the file, 4 regexps", cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), fileLines/mtailPart, "")
	return nil
}

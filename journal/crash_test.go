package journal

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// dirVariable makes the test binary a writer on the folder that it names.
const dirVariable = "GATEWARDEN_TEST_JOURNAL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(dirVariable); dir != "" {
		if err := writeUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilKilled appends events and prints the position of each once it is
// durable.
func writeUntilKilled(dir string) error {
	srv, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir, SyncAlways: true, JetStreamMaxStore: 64 << 20})
	if err != nil {
		return err
	}
	srv.Start()
	if !srv.ReadyForConnections(20 * time.Second) {
		return fmt.Errorf("the server does not start")
	}
	conn, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		return err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	j, err := Open(context.Background(), js, Config{})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		e, err := j.Append(context.Background(), sloEvent(i))
		if err != nil {
			return err
		}
		fmt.Println(e.Seq)
	}
}

// TestWhatWasAcknowledgedSurvivesKill kills a writing process with SIGKILL, several
// times in a row on the same folder.
func TestWhatWasAcknowledgedSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	var acknowledged uint64
	for round := range 3 {
		last, err := runAndKill(t, dir, 20+13*round)
		if err != nil {
			t.Fatal(err)
		}
		if last <= acknowledged {
			t.Fatalf("round %d: positions went from %d back to %d", round, acknowledged, last)
		}
		acknowledged = last
	}
	js, _ := testServer(t, dir)
	events, err := openJournal(t, js, Config{}).Events(t.Context(), Query{})
	if err != nil {
		t.Fatal(err)
	}
	if uint64(len(events)) < acknowledged {
		t.Errorf("%d events are left of %d acknowledged ones", len(events), acknowledged)
	}
	for i, e := range events {
		if e.Seq != uint64(i+1) {
			t.Fatalf("event %d is at position %d", i+1, e.Seq)
		}
	}
}

// runAndKill starts a writer, lets it acknowledge so many events, and kills it. It
// returns the last position that was acknowledged.
func runAndKill(t *testing.T, dir string, events int) (last uint64, err error) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), dirVariable+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	positions := bufio.NewScanner(out)
	for n := 0; positions.Scan(); n++ {
		if last, err = strconv.ParseUint(positions.Text(), 10, 64); err != nil {
			return 0, err
		}
		if n == events {
			if err := cmd.Process.Kill(); err != nil {
				return 0, err
			}
		}
	}
	if err := cmd.Wait(); err == nil || last == 0 {
		return 0, fmt.Errorf("the writer was not killed (last position %d): %w", last, err)
	}
	return last, nil
}

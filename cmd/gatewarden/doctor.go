package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden/app"
)

func newDoctor() *cobra.Command {
	var (
		config string
		quiet  bool
	)
	output := outputText
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Ask Kong, Jenkins and every other peer whether what the rules need is there",
		Long: `Reads the configuration and asks every peer that it names: Kong's Admin API, Jenkins,
Prometheus, Elasticsearch, Jaeger, NATS, and this machine. Are the plugins there that
feed the guard, and do they lead to it? Do the services, routes, targets and tags exist
that the rules name? May the guard change what its steps change, and build the jobs?
Do the clocks agree, can the state be written, are the addresses free?

Each line says ok, warn or fail, and below it what to do, ready to be pasted. It changes
nothing, and can be asked while a guard runs. Ends with 0 when nothing fails, warnings
or not, else with 1.`,
		Example: `  gatewarden doctor -c gatewarden.yaml
  gatewarden doctor -c gatewarden.yaml --quiet       # only what is wrong
  gatewarden doctor -c gatewarden.yaml --output json | jq -r 'select(.state == "fail").fix'`,
		Args: noArgs,
	}
	cmd.Flags().StringVarP(&config, "config", "c", "gatewarden.yaml", "the configuration `FILE`")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "leave out what is well")
	addOutput(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r := &doctorReport{w: cmd.OutOrStdout(), format: output, quiet: quiet, paint: paintFor(cmd.OutOrStdout()), count: map[app.Condition]int{}}
		if err := app.Doctor(cmd.Context(), app.DoctorOptions{ConfigFile: config, Env: os.LookupEnv, Tell: r.tell}); err != nil {
			return err
		}
		return r.end()
	}
	return cmd
}

// doctorReport prints diagnoses as they come.
type doctorReport struct {
	w      io.Writer
	format outputFormat
	quiet  bool
	paint  painter
	peer   string
	count  map[app.Condition]int
	err    error // of the first line that could not be written
}

// doctorLine is a diagnosis as JSON: it has what every event has.
type doctorLine struct {
	At     time.Time `json:"at"`
	Type   string    `json:"type"`
	Name   string    `json:"name"`
	State  string    `json:"state"`
	Reason string    `json:"reason"`
	Fix    string    `json:"fix,omitempty"`
}

func (r *doctorReport) tell(d app.Diagnosis) {
	r.count[d.State]++
	if r.err != nil || r.quiet && d.State == app.Fine {
		return
	}
	if r.format == outputJSON {
		r.err = printJSON(r.w, doctorLine{time.Now().UTC(), "doctor", d.Peer + "/" + d.Check, string(d.State), d.Reason, d.Fix})
		return
	}
	var b strings.Builder
	if d.Peer != r.peer {
		fmt.Fprintf(&b, "%s\n", r.paint.paint(bold, d.Peer))
		r.peer = d.Peer
	}
	code := map[app.Condition]string{app.Fine: green, app.Doubt: yellow, app.Trouble: red}[d.State]
	fmt.Fprintf(&b, "  %s  %s\n", padded(r.paint.paint(code, string(d.State)), string(d.State), len(app.Doubt)), d.Reason)
	if d.Fix != "" {
		fmt.Fprintf(&b, "        %s\n", strings.ReplaceAll(d.Fix, "\n", "\n        "))
	}
	_, r.err = io.WriteString(r.w, b.String())
}

// end prints how many there are of each, and says by the exit code whether any fails.
func (r *doctorReport) end() error {
	if r.err == nil && r.format == outputText {
		failed := fmt.Sprintf("%d fail", r.count[app.Trouble])
		if r.count[app.Trouble] > 0 {
			failed = r.paint.paint(red, failed)
		}
		_, r.err = fmt.Fprintf(r.w, "%s, %d warn, %d ok\n", failed, r.count[app.Doubt], r.count[app.Fine])
	}
	if r.err == nil && r.count[app.Trouble] > 0 {
		return exitError{code: 1}
	}
	return r.err
}

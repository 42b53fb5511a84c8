package main

import (
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	_ "time/tzdata" // quiet hours have time zones, and an empty image has no list of them

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden/app"
	"github.com/gatewarden/gatewarden/rules"
)

func newRun() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Guard: take Kong's log, judge, act, put back",
		Long: `Runs the guard until it is told to stop (SIGTERM or Ctrl-C). SIGHUP, POST /-/reload
or a change of a file brings new rules into force; a bad file changes nothing.`,
		Example: `  gatewarden run -c gatewarden.yaml
  gatewarden check gatewarden.yaml && gatewarden run -c gatewarden.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			trimMemory(os.LookupEnv)
			// The loader says what is wrong with the file; here only its log section counts.
			cfg, _ := rules.LoadConfig(config, os.LookupEnv)
			guard, err := app.New(cmd.Context(), app.Options{
				ConfigFile: config, Env: os.LookupEnv, Logger: newLogger(cmd.ErrOrStderr(), cfg.Log), Failpoint: failpoint(), Now: clock(),
			})
			if err != nil {
				return err
			}
			return guard.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", "gatewarden.yaml", "the configuration `FILE`")
	return cmd
}

// gcPercent is how much garbage may pile up on what is alive before it is collected.
// A guard holds its history and makes little garbage: Go's 100 would double its
// size to save one or two per cent of its processor time. `make bench` prints what it weighs.
const gcPercent = 12

// trimMemory sets gcPercent, unless the environment says what it wants, and keeps no
// profile of allocations, which nobody could ask for and which takes 1.5 MB.
func trimMemory(env func(string) (string, bool)) {
	runtime.MemProfileRate = 0
	if _, set := env("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
}

// newLogger returns a logger to w as the configuration wants it.
func newLogger(w io.Writer, cfg rules.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// failpointEnv names the step at which the crash test wants this process to die, and
// after how many passes: "applied" or "applied:2". Nobody else sets it.
const failpointEnv = "GATEWARDEN_TEST_FAILPOINT"

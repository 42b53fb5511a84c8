package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden/api"
)

// listing is what a verb shows that lists things, or explains the one it is told: P is
// the answer of the API that holds all of them, T one.
type listing[P, T any] struct {
	path  string // of all; that of one has its name behind it
	items func(P) []T
	list  func(w io.Writer, all []T) error
	show  func(w io.Writer, one T) error
}

// run asks the guard and prints its answer as output says.
func (l listing[P, T]) run(connect func() (*client, error), output *outputFormat) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := connect()
		if err != nil {
			return err
		}
		w, asJSON := cmd.OutOrStdout(), *output == outputJSON
		if len(args) == 1 {
			var one T
			if err := c.get(cmd.Context(), l.path+"/"+url.PathEscape(args[0]), &one); err != nil {
				return err
			}
			if asJSON {
				return printJSON(w, one)
			}
			defer tellPause(cmd, c)
			return l.show(w, one)
		}
		var page P
		if err := c.get(cmd.Context(), l.path, &page); err != nil {
			return err
		}
		if asJSON {
			return printLines(w, l.items(page))
		}
		defer tellPause(cmd, c)
		return l.list(w, l.items(page))
	}
}

// tellPause says below an answer for people that the guard is paused: a pause outlives
// restarts, and who forgot it would wait in vain for something to be done.
func tellPause(cmd *cobra.Command, c *client) {
	var status api.Status
	if err := c.get(cmd.Context(), "/api/v1/status", &status); err != nil || status.Paused == nil {
		return // what was asked for is answered already
	}
	p := status.Paused
	fmt.Fprintf(cmd.ErrOrStderr(), "\nThe guard is paused since %s by %s (%s): it begins nothing. `gatewarden actions resume` ends that.\n",
		p.At.Local().Format(time.DateTime), p.By, cmp.Or(p.Reason, "no reason given"))
}

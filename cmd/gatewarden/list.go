package main

import (
	"io"
	"net/url"

	"github.com/spf13/cobra"
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
			return l.show(w, one)
		}
		var page P
		if err := c.get(cmd.Context(), l.path, &page); err != nil {
			return err
		}
		if asJSON {
			return printLines(w, l.items(page))
		}
		return l.list(w, l.items(page))
	}
}

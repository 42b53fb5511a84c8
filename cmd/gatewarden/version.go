package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gatewarden/gatewarden/internal/version"
)

func newVersion() *cobra.Command {
	output := outputText
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which build this is",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output == outputJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(version.Get())
			}
			fmt.Fprintln(cmd.OutOrStdout(), version.Get())
			return nil
		},
	}
	addOutput(cmd, &output)
	return cmd
}

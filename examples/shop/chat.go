package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"

	"log/slog"

	"github.com/spf13/cobra"
)

// newChat is the verb for the team's chat: whatever is posted to it is shown.
func newChat() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use: "chat", Short: "Print what the guard and Alertmanager post, one line each", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listenAndServe(cmd.Context(), listen, chat(cmd.OutOrStdout()), slog.New(slog.NewTextHandler(os.Stderr, nil)))
		},
	}
	cmd.Flags().StringVar(&listen, "listen", ":8080", "the `ADDRESS` to listen on")
	return cmd
}

// chat prints each body on a line of its own, with the path it was posted to.
func chat(w io.Writer) http.Handler {
	var mu sync.Mutex
	mux := http.NewServeMux()
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "healthy"})
	})
	mux.HandleFunc("POST /hooks/", func(rw http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, 1<<20))
		var line bytes.Buffer
		if err != nil || json.Compact(&line, raw) != nil { // which also keeps control characters off the terminal
			answer(rw, http.StatusBadRequest, map[string]string{"error": "that is no JSON"})
			return
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, "%q %s\n", r.URL.Path, line.Bytes())
		answer(rw, http.StatusOK, map[string]string{"status": "shown"})
	})
	return mux
}

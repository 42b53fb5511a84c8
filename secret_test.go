package gatewarden

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func FuzzSecretIsNeverPrinted(f *testing.F) {
	f.Add("s3cr3t-t0ken")
	f.Add("%!s(missing)")
	f.Fuzz(func(t *testing.T, value string) {
		if len(value) < 6 || strings.Contains(Redacted, value) || strings.Trim(value, "0123456789abcdefx{} ") == "" {
			return // too short to be told from an address or from Redacted itself
		}
		type holder struct {
			Public  Secret            `json:"public"`
			private Secret            // fmt reads it without asking its methods
			Map     map[string]Secret `json:"map"`
			Ptr     *Secret           `json:"ptr"`
		}
		s := NewSecret(value)
		h := holder{s, s, map[string]Secret{"a": s}, &s}
		_ = h.private

		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			fmt.Fprintf(&out, verb, s)
			fmt.Fprintf(&out, verb, &s)
			fmt.Fprintf(&out, verb, h)
			fmt.Fprintf(&out, verb, &h)
		}
		b, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "secret", s, "holder", h)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "secret", s, "holder", h)
		for _, leak := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value), fmt.Sprintf("%q", value)} {
			if strings.Contains(out.String(), leak) {
				t.Errorf("%q is in %s", leak, out.String())
			}
		}
		if s.Reveal() != value {
			t.Errorf("Reveal = %q, want %q", s.Reveal(), value)
		}
	})
}

package collector

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

type testSettings struct {
	Path string
	Max  int
}

func (s *testSettings) Validate() error {
	if s.Max < 0 {
		return errors.New("max is below zero")
	}
	return nil
}

type testSource struct{ settings testSettings }

func (testSource) Run(context.Context) error { return nil }

func TestFactory(t *testing.T) {
	built := 0
	f := Of("test", testSettings{Path: "/x", Max: 7}, func(_ Env, s testSettings) (Source, error) {
		built++
		return testSource{s}, nil
	})
	set := func(limit int) func(any) error {
		return func(into any) error { into.(*testSettings).Max = limit; return nil }
	}
	unreadable := errors.New("line 3: unknown key")
	cases := map[string]struct {
		decode func(any) error
		want   testSettings
		fails  string
	}{
		"nothing set keeps the defaults": {decode: func(any) error { return nil }, want: testSettings{"/x", 7}},
		"what is set is set":             {decode: set(9), want: testSettings{"/x", 9}},
		"what cannot be read":            {decode: func(any) error { return unreadable }, fails: "line 3: unknown key"},
		"what cannot work":               {decode: set(-1), fails: "max is below zero"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			checked := f.Check(c.decode)
			before := built
			source, err := f.Build(Env{}, c.decode)
			if c.fails != "" {
				if err == nil || err.Error() != c.fails || checked == nil || checked.Error() != c.fails || built != before {
					t.Errorf("built %v with %v, checked %v", source, err, checked)
				}
				return
			}
			if err != nil || checked != nil {
				t.Fatal(err, checked)
			}
			if diff := cmp.Diff(c.want, source.(testSource).settings); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestByteSize(t *testing.T) {
	for in, want := range map[string]ByteSize{"0": 0, "1000": 1000, "10B": 10, "512KiB": 512 * KiB, "32MiB": 32 * MiB, "1GiB": GiB} {
		var b ByteSize
		if err := b.UnmarshalText([]byte(in)); err != nil || b != want {
			t.Errorf("%q is %d, %v", in, b, err)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "1.5MiB", "1 MiB", "1MB", "1mib", "9223372036854775807KiB", "1KiBKiB"} {
		var b ByteSize
		if err := b.UnmarshalText([]byte(in)); gatewarden.ErrorCode(err) != gatewarden.Invalid {
			t.Errorf("%q is %d, %v", in, b, err)
		}
	}
}

package gates

import (
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// TestWhatAFingerprintIsMadeOf makes whoever gives canaries another field say whether it
// has a part in which requests are observed.
func TestWhatAFingerprintIsMadeOf(t *testing.T) {
	want := map[string]bool{
		"Name": true, "Series": true, "Upstream": true, "Tracks": true,
		"Description": false, "Errors": false, "Latency": false, "Limits": false, "FalseAlarm": false, "FalsePass": false, "WarmUp": false,
		"MinDuration": false, "Deadline": false, "Steps": false, "OnInconclusive": false, "OnFail": false, "OnPass": false, "Mode": false,
	}
	got := map[string]bool{}
	fields := reflect.TypeFor[gatewarden.Canary]()
	for i := range fields.NumField() {
		c := gatewarden.Canary{}
		fill(reflect.ValueOf(&c).Elem().Field(i))
		got[fields.Field(i).Name] = fingerprintOf(&c) != fingerprintOf(&gatewarden.Canary{})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields that make another fingerprint (-want +got):\n%s", diff)
	}
}

// fill makes v something else than zero, in all its fields.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field)
		}
	default:
		panic("a canary has a field of the kind " + v.Kind().String())
	}
}

func TestOlderAreTheDefinitionsThatPickOtherwise(t *testing.T) {
	for sentence, c := range map[string]struct {
		change func(list []gatewarden.Canary) []gatewarden.Canary
		want   []string
	}{
		"nothing changed":   {func(list []gatewarden.Canary) []gatewarden.Canary { return list }, nil},
		"another margin":    {func(list []gatewarden.Canary) []gatewarden.Canary { list[0].FalseAlarm = 0.1; return list }, nil},
		"another route":     {func(list []gatewarden.Canary) []gatewarden.Canary { list[0].Series.Route = "x"; return list }, []string{"orders"}},
		"without a run":     {func(list []gatewarden.Canary) []gatewarden.Canary { list[1].Series.Route = "x"; return list }, nil},
		"it is gone":        {func(list []gatewarden.Canary) []gatewarden.Canary { return list[1:] }, []string{"orders"}},
		"all of it is gone": {func([]gatewarden.Canary) []gatewarden.Canary { return nil }, []string{"orders"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			before := []gatewarden.Canary{canaryOf("orders"), canaryOf("payments")}
			w := newWorld(t, slices.Clone(before)...)
			run := w.start("orders", "")
			w.canaries = c.change(slices.Clone(before))
			if err := w.book.SetCanaries(w.canaries); err != nil {
				t.Fatal(err)
			}
			check := func(when string, want []string) {
				t.Helper()
				var names []string
				for _, o := range w.book.Older() {
					if o.Series.Route != "" {
						t.Errorf("%s: it is the rules' definition", when)
					}
					names = append(names, o.Name)
				}
				if diff := cmp.Diff(want, names); diff != "" {
					t.Errorf("%s (-want +got):\n%s", when, diff)
				}
			}
			check("at once", c.want)
			w.boot()
			check("after a restart", c.want)
			if _, err := w.book.Cancel(t.Context(), w.now, run.ID, "ada", ""); err != nil {
				t.Fatal(err)
			}
			check("when the run is over", nil)
		})
	}
}

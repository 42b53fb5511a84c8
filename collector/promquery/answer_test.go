package promquery

import (
	"bufio"
	"errors"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// captured reads a whole answer of a real server.
func captured(t testing.TB, name string) *http.Response {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	resp, err := http.ReadResponse(bufio.NewReader(file), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestRealAnswers(t *testing.T) {
	resp := captured(t, "range.http")
	l, err := readAnswer(resp.StatusCode, resp.Header, resp.Body, 1<<20)
	if err != nil || !l.bare {
		t.Fatalf("%+v, %v", l, err)
	}
	if diff := cmp.Diff(map[int64]float64{1795293731: 1, 1795293733: 1, 1795293735: 1}, l.points); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for name, c := range map[string]struct{ outcome, want string }{
		"parse-error.http":      {refused, "bad_data: invalid parameter"},
		"too-many-points.http":  {refused, "exceeded maximum resolution"},
		"too-many-samples.http": {refused, "too many samples"},
		"timeout.http":          {failed, "query timed out"},
		"starting.http":         {failed, "503 Service Unavailable"},
		"truncated.http":        {partial, "results truncated due to limit"},
		"annotated.http":        {failed, `a "vector" and no matrix`}, // its remark is none on missing data
		"unknown-endpoint.http": {failed, "404 Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			resp := captured(t, name)
			_, err := readAnswer(resp.StatusCode, resp.Header, resp.Body, 1<<20)
			checkProblem(t, err, c.outcome, c.want)
		})
	}
}

func checkProblem(t *testing.T, err error, outcome, want string) {
	t.Helper()
	p, ok := errors.AsType[*problem](err)
	if !ok || p.outcome != outcome || !strings.Contains(err.Error(), want) {
		t.Errorf("it is %v (%+v), want %s: %s", err, p, outcome, want)
	}
}

func TestAnswersThatDoNotCount(t *testing.T) {
	const two = `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"1"},"values":[]},{"metric":{"a":"2"},"values":[]}]}}`
	for name, c := range map[string]struct {
		status         int
		body           string
		outcome, wants string
	}{
		"a web page":                {200, "<html><body>welcome</body></html>", failed, "a web page"},
		"a page to log in at":       {302, "", failed, "302 Found"},
		"nothing":                   {200, "", failed, "not JSON of the query API"},
		"cut in the middle":         {200, two[:60], failed, "not JSON"},
		"another program's JSON":    {200, `{"hello":"world"}`, failed, "not JSON of the query API"},
		"nobody is known":           {401, `{"message":"no"}`, failed, "401 Unauthorized"},
		"not allowed, in words":     {403, "denied", failed, "403 Forbidden"},
		"no tenant":                 {401, "no org id", failed, "tenant"},
		"too often":                 {429, "slow down", failed, "429"},
		"a gateway's error":         {502, "<html>bad gateway</html>", failed, "502"},
		"two series":                {200, two, refused, `{a="1"} and {a="2"}`},
		"several need a sum":        {200, two, refused, "put sum(...) around it"},
		"Thanos left stores out":    {200, `{"status":"success","warnings":["No StoreAPIs matched for this query"],"data":{"resultType":"matrix","result":[]}}`, partial, "No StoreAPIs"},
		"VictoriaMetrics left some": {200, `{"status":"success","isPartial":true,"data":{"resultType":"matrix","result":[]}}`, partial, "isPartial"},
		"histograms":                {200, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"histograms":[[1,{}]]}]}}`, refused, "histogram_count"},
		"values that are none":      {200, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,2]]}]}}`, failed, "no value"},
		"an error with status 200":  {200, `{"status":"error","errorType":"internal","error":"oh"}`, failed, "internal: oh"},
		"too large":                 {200, strings.Repeat(" ", 2000), failed, "more than max_body"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readAnswer(c.status, http.Header{}, strings.NewReader(c.body), 1000)
			checkProblem(t, err, c.outcome, c.wants)
		})
	}
	_, err := readAnswer(503, http.Header{"Retry-After": {"20"}}, strings.NewReader("later"), 1000)
	if p, ok := errors.AsType[*problem](err); !ok || p.after != 20*time.Second {
		t.Errorf("what wants to be left alone: %+v", p)
	}
}

func TestAnswersThatCount(t *testing.T) {
	for name, c := range map[string]struct {
		result string
		want   map[int64]float64
	}{
		"no series":                      {`[]`, map[int64]float64{}},
		"numbers":                        {`[{"metric":{},"values":[[60,"1"],[120.000,"2.5"],[180,"+Inf"]]}]`, map[int64]float64{60: 1, 120: 2.5, 180: math.Inf(1)}},
		"times beside the grid are none": {`[{"metric":{},"values":[[60.5,"1"],[1e300,"1"]]}]`, map[int64]float64{}},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"status":"success","infos":["PromQL info: metric might not be a counter"],"data":{"resultType":"matrix","result":` + c.result + `}}`
			l, err := readAnswer(200, http.Header{}, strings.NewReader(body), 1000)
			if err != nil || l.bare {
				t.Fatalf("%+v, %v", l, err)
			}
			if diff := cmp.Diff(c.want, l.points); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.http"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no captured answers: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		_, body, _ := strings.Cut(string(data), "\r\n\r\n")
		f.Add(200, body)
		f.Add(503, body)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		l, err := readAnswer(status, http.Header{}, strings.NewReader(body), 1<<16)
		if _, ok := errors.AsType[*problem](err); err != nil && !ok {
			t.Errorf("an error without an outcome: %v", err)
		}
		if status != http.StatusOK && err == nil {
			t.Errorf("status %d counts: %v", status, slices.Sorted(maps.Keys(l.points)))
		}
	})
}

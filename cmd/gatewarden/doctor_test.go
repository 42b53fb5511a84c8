package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestDoctor runs the sessions of testdata/doctor: what the doctor finds at stand-ins for
// Kong and Jenkins that are set up badly, and that what it says to do mends it. Besides
// testscript's own commands, and some of TestScripts', they have
//
//	paste REGEXP...  does what the first line of the last stdout that matches says to do, as a
//	                 person would who pastes it: it begins with curl, and goes on in the next line
//	                 after a \
func TestDoctor(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/doctor", UpdateScripts: *update, RequireUniqueNames: true, Setup: setUpScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"envsubst": envsubst, "kong": startKong, "jenkins": startJenkins, "occupy": occupy, "jsonlines": jsonLines, "paste": paste, "serve": serveFiles,
		},
	})
}

// TestRuleVerbs runs the sessions of testdata/rules: rules that are tested, exported and
// imported.
func TestRuleVerbs(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/rules", UpdateScripts: *update, RequireUniqueNames: true, Setup: setUpScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"jsonlines": jsonLines},
	})
}

// paste carries out a command of the doctor's. GUARD in it is this machine.
func paste(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: paste REGEXP...")
	}
	text := strings.ReplaceAll(ts.ReadFile("stdout"), "\\\n", " ")
	for _, arg := range args {
		re, err := regexp.Compile(arg)
		ts.Check(err)
		found := false
		for line := range strings.SplitSeq(text, "\n") {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "curl ") || !re.MatchString(line) {
				continue
			}
			found = true
			curl(ts, strings.ReplaceAll(line, "GUARD", "127.0.0.1"))
			break
		}
		if !found {
			ts.Fatalf("nothing to paste matches %s", arg)
		}
	}
}

// words are those of a command line, in quotes or not.
var words = regexp.MustCompile(`'([^']*)'|(#.*)|(\S+)`)

// curl does what curl does, of the flags that the doctor uses.
func curl(ts *testscript.TestScript, line string) {
	method, address, contentType := "", "", "application/x-www-form-urlencoded"
	var data []string
	list := words.FindAllStringSubmatch(strings.TrimPrefix(line, "curl "), -1)
	for i := 0; i < len(list); i++ {
		word := list[i][1] + list[i][3]
		if list[i][2] != "" {
			break // a comment
		}
		next := func() string {
			if i++; i >= len(list) {
				ts.Fatalf("%s: a flag without a value", line)
			}
			return list[i][1] + list[i][3]
		}
		switch word {
		case "-X":
			method = next()
		case "-d":
			data = append(data, next())
		case "-H":
			contentType = strings.TrimPrefix(next(), "Content-Type: ")
		case "-s", "-G":
		default:
			address = word
		}
	}
	if method == "" {
		method = http.MethodGet
	}
	body := strings.Join(data, "&")
	if contentType != "application/json" {
		for i, d := range data {
			key, value, _ := strings.Cut(d, "=")
			data[i] = key + "=" + url.QueryEscape(value)
		}
		body = strings.Join(data, "&")
	}
	req, err := http.NewRequest(method, address, strings.NewReader(body))
	ts.Check(err)
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	ts.Logf("%s\n%s %s", line, resp.Status, answer)
	if resp.StatusCode >= http.StatusBadRequest {
		ts.Fatalf("what the doctor says does not work")
	}
}

// serveFiles answers with files as a peer of some kind would: "serve NAME DIR" sets $NAME
// to an address where GET /a/b answers what is in DIR/a_b.json; the root is root.json.
func serveFiles(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: serve NAME DIR")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.ReplaceAll(strings.Trim(r.URL.Path, "/"), "/", "_")
		if name == "" {
			name = "root"
		}
		text, err := os.ReadFile(ts.MkAbs(args[1] + "/" + name + ".json"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(text)
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
}

package elasticsearch_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must come. It is long because the machines
// that run tests are busy; nothing takes that long when all is well.
const patience = 2 * time.Minute

// products are the servers that the tests run against, by the folder that makes them.
var products = map[string]*server{"elasticsearch": {}, "opensearch": {}}

// server is one real server, started when the first test asks for it.
type server struct {
	once    sync.Once
	url     string
	skip    string // why there is none
	err     error
	command *exec.Cmd
	input   io.Closer
	folder  string
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, s := range products {
		s.stop()
	}
	os.Exit(code)
}

// each runs a test against every product.
func each(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	for product := range products {
		t.Run(product, func(t *testing.T) {
			url := start(t, product)
			call(t, "DELETE", url+"/kong-*", "")
			test(t, url)
		})
	}
}

// start returns the address of a product's server. Without Maven or Java there is none,
// which must not go unseen.
func start(t testing.TB, product string) string {
	t.Helper()
	s := products[product]
	s.once.Do(func() { s.err = s.start(product) })
	if s.skip != "" {
		t.Skipf("NOT TESTED: there is no %s to test against: %s", product, s.skip)
	}
	if s.err != nil {
		t.Fatalf("starting %s: %v", product, s.err)
	}
	return s.url
}

func (s *server) start(product string) error {
	if url := os.Getenv("GATEWARDEN_TEST_" + strings.ToUpper(product)); url != "" {
		s.url = url // one that runs already
		return nil
	}
	if s.skip = missing("mvn", "java"); s.skip != "" {
		return nil
	}
	var err error
	if s.folder, err = os.MkdirTemp("", "gatewarden-"+product); err != nil {
		return err
	}
	list := filepath.Join(s.folder, "classpath")
	jars := exec.Command("mvn", "-q", "-B", "-f", filepath.Join(product, "pom.xml"), "dependency:build-classpath", "-Dmdep.outputFile="+list)
	if out, err := jars.CombinedOutput(); err != nil {
		return fmt.Errorf("getting its jars: %w\n%s", err, out)
	}
	classpath, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	return s.run(product, strings.TrimSpace(string(classpath)))
}

// missing says which of some tools is not here, "" when all are.
func missing(tools ...string) string {
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return err.Error()
		}
	}
	return ""
}

// run runs the server until stop, or until this process is no more.
func (s *server) run(product, classpath string) error {
	s.command = exec.Command("java", "-Xms512m", "-Xmx"+heap(), "-Dlog4j2.disable.jmx=true", "-Des.path.home="+s.folder, "-Dopensearch.path.home="+s.folder,
		"-cp", classpath, filepath.Join(product, "Server.java"), s.folder)
	var said bytes.Buffer
	s.command.Stderr = &said
	out, err := s.command.StdoutPipe()
	if err != nil {
		return err
	}
	if s.input, err = s.command.StdinPipe(); err != nil {
		return err
	}
	if err := s.command.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if port, ok := strings.CutPrefix(lines.Text(), "port "); ok {
			s.url = "http://127.0.0.1:" + port
			go func() { _, _ = io.Copy(io.Discard, out) }() // it ends with the server
			return nil
		}
	}
	_ = s.command.Wait()
	return fmt.Errorf("it ended before it listened: %s", said.String())
}

func heap() string {
	if h := os.Getenv("GATEWARDEN_TEST_HEAP"); h != "" {
		return h
	}
	return "768m"
}

func (s *server) stop() {
	if s.input != nil {
		_ = s.input.Close()
		_ = s.command.Wait()
	}
	if s.folder != "" {
		_ = os.RemoveAll(s.folder)
	}
}

// call sends a request and returns the answer, which must be of a good status.
func call(t testing.TB, method, url, body string) map[string]any {
	t.Helper()
	answer, err := ask(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func ask(ctx context.Context, method, url, body string) (map[string]any, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %s %s", method, url, response.Status, text)
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("%s %s: %w in %s", method, url, err, text)
	}
	return answer, nil
}

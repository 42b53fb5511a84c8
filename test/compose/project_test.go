package compose_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// root is the repository as seen from here.
const root = "../.."

// load loads docker-compose.yml as docker compose does, every profile switched on and
// nothing but .env in the environment.
func load(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	options, err := cli.NewProjectOptions(
		[]string{filepath.Join(dir, "docker-compose.yml")}, cli.WithWorkingDirectory(dir),
		cli.WithEnvFiles(filepath.Join(dir, ".env")), cli.WithDotEnv, cli.WithProfiles([]string{"*"}),
	)
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	return project
}

func text(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestEveryServiceOfTheStoryIsThere(t *testing.T) {
	want := []string{
		"alertmanager", "chat", "elasticsearch", "gatewarden", "grafana", "inventory", "jaeger", "jenkins", "kibana", "kong", "kong-db",
		"kong-migrations", "kong-setup", "load", "logstash", "orders-v1", "orders-v2", "payments", "prometheus", "recommendations", "story",
	}
	if got := load(t).ServiceNames(); !slices.Equal(got, want) {
		t.Errorf("services are %q, want %q", got, want)
	}
}

// pinned is an image with a tag that says more than latest.
var pinned = regexp.MustCompile(`^[a-z0-9./-]+:v?\d[\w.-]*$`)

func TestImagesArePinnedInTheEnvironmentFile(t *testing.T) {
	environment := text(t, ".env")
	images := regexp.MustCompile(`(?m)^\w+_IMAGE=(\S+)$`).FindAllStringSubmatch(environment, -1)
	if len(images) < 10 {
		t.Fatalf("only %d images in .env: the test does not see them", len(images))
	}
	for _, m := range images {
		if !pinned.MatchString(m[1]) {
			t.Errorf("%s is not pinned", m[1])
		}
	}
	for name, s := range load(t).Services {
		if s.Build == nil && !strings.Contains(environment, "_IMAGE="+s.Image+"\n") {
			t.Errorf("%s: the image %q is not from .env", name, s.Image)
		}
	}
	for _, bad := range []string{"kong", "kong:latest", "kong:lts"} {
		if pinned.MatchString(bad) {
			t.Errorf("%s passes for pinned", bad)
		}
	}
}

// A port on all interfaces is open to the network: Docker goes around the host's firewall.
func TestPortsAreOnLoopbackOnly(t *testing.T) {
	published := map[string]string{}
	for name, s := range load(t).Services {
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s on %q", name, p.Published, p.HostIP)
			}
			if other := published[p.Published]; other != "" {
				t.Errorf("%s and %s publish %s", name, other, p.Published)
			}
			published[p.Published] = name
		}
	}
	if len(published) < 9 {
		t.Errorf("only %d ports seen", len(published))
	}
}

// oneShot tells a service that does its work and ends.
func oneShot(name string) bool {
	return name == "kong-migrations" || name == "kong-setup" || name == "story"
}

func TestWhatIsWaitedForCanHappen(t *testing.T) {
	project := load(t)
	ended := map[string]bool{} // one-shot services that somebody waits for
	for name, s := range project.Services {
		for on, d := range s.DependsOn {
			other, ok := project.Services[on]
			if !ok {
				t.Errorf("%s waits for %s, which there is not", name, on)
				continue
			}
			switch d.Condition {
			case types.ServiceConditionHealthy:
				if other.HealthCheck == nil || other.HealthCheck.Disable {
					t.Errorf("%s waits for the health of %s, which has no check", name, on)
				}
			case types.ServiceConditionCompletedSuccessfully:
				ended[on] = true
				if !oneShot(on) {
					t.Errorf("%s waits for the end of %s, which does not end", name, on)
				}
			}
			if len(other.Profiles) > 0 && !slices.Equal(other.Profiles, s.Profiles) {
				t.Errorf("%s waits for %s, which is in the profiles %v", name, on, other.Profiles)
			}
		}
	}
	// `up --wait` takes the end of a service for a failure unless somebody waits for it.
	for _, name := range []string{"kong-migrations", "kong-setup"} {
		if !ended[name] {
			t.Errorf("nobody waits for the end of %s, so `up --wait` would fail", name)
		}
	}
}

func TestTheGuardWaitsForNothingThatItCanDoWithout(t *testing.T) {
	var on []string
	for name := range load(t).Services["gatewarden"].DependsOn {
		on = append(on, name)
	}
	if !slices.Equal(on, []string{"kong-setup"}) {
		t.Errorf("the guard waits for %q", on)
	}
}

func TestHealthChecksAskByAddress(t *testing.T) {
	checked := 0
	for name, s := range load(t).Services {
		if s.HealthCheck == nil || s.HealthCheck.Disable {
			if !oneShot(name) && name != "load" { // which serves nobody
				t.Errorf("%s has no health check", name)
			}
			continue
		}
		checked++
		if test := strings.Join(s.HealthCheck.Test, " "); strings.Contains(test, "localhost") {
			t.Errorf("%s: %q: localhost may be ::1, where nobody listens", name, test)
		}
	}
	if checked < 15 {
		t.Errorf("only %d health checks seen", checked)
	}
}

func TestWhatIsMountedExists(t *testing.T) {
	seen := 0
	for name, s := range load(t).Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			seen++
			if info, err := os.Stat(v.Source); err != nil || !info.IsDir() {
				t.Errorf("%s mounts %s: a folder was expected (%v)", name, v.Source, err)
			}
			if !v.ReadOnly {
				t.Errorf("%s may write to %s", name, v.Source)
			}
		}
	}
	if seen < 7 {
		t.Errorf("only %d folders seen", seen)
	}
}

// A secret of the environment is written into the container when it starts, which one
// that is read-only refuses.
func TestSecretsReachTheirContainers(t *testing.T) {
	project := load(t)
	for name, s := range project.Services {
		if len(s.Secrets) > 0 && s.ReadOnly {
			t.Errorf("%s is read-only and has secrets", name)
		}
	}
	for name, secret := range project.Secrets {
		if project.Environment[secret.Environment] == "" {
			t.Errorf("the secret %s is empty: %s is not in .env", name, secret.Environment)
		}
	}
	if token := project.Environment["JENKINS_TOKEN"]; !regexp.MustCompile(`^11[0-9a-f]{32}$`).MatchString(token) {
		t.Errorf("JENKINS_TOKEN %q is not what Jenkins takes for a token", token)
	}
}

// A file that ends up in an image has to be in the build context, too.
func TestTheDockerfileCopiesWhatThereIs(t *testing.T) {
	dockerfile, ignored := text(t, "Dockerfile"), strings.Fields(text(t, ".dockerignore"))
	stages := map[string]bool{}
	copied := 0
	lines := bufio.NewScanner(strings.NewReader(dockerfile))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 4 && words[0] == "FROM":
			stages[words[3]] = true
		case len(words) > 2 && words[0] == "COPY" && !strings.Contains(lines.Text(), "--from="):
			for _, source := range words[1 : len(words)-1] {
				if strings.HasPrefix(source, "--") {
					continue
				}
				copied++
				if _, err := os.Stat(filepath.Join(root, source)); err != nil {
					t.Errorf("%s: %v", lines.Text(), err)
				}
				if top, _, _ := strings.Cut(source, "/"); slices.Contains(ignored, top) {
					t.Errorf("%s is left out by .dockerignore", source)
				}
			}
		}
	}
	if copied < 8 {
		t.Errorf("only %d copied files seen", copied)
	}
	for name, s := range load(t).Services {
		if s.Build != nil && !stages[s.Build.Target] {
			t.Errorf("%s is built from the stage %q, which there is not", name, s.Build.Target)
		}
	}
	for _, arg := range []string{"GO_IMAGE", "JENKINS_IMAGE"} {
		if want := fmt.Sprintf("ARG %s=%s\n", arg, load(t).Environment[arg]); !strings.Contains(dockerfile, want) {
			t.Errorf("Dockerfile and .env do not agree: %q is missing", want)
		}
	}
}

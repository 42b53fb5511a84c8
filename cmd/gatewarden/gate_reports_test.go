package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden/internal/report"
)

// text returns a report that writes so, and then fails if it is to.
func text(flag, path, text string, err error) reportFile {
	return reportFile{flag: flag, path: path, write: func(_ *report.Report, w io.Writer) error {
		_, _ = io.WriteString(w, text)
		return err
	}}
}

// files returns what a folder holds.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(raw)
	}
	return all
}

func TestReportsAreWrittenWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	list := []reportFile{
		text("junit", in("good"), "new", nil), text("json", in("bad"), "half", errors.New("no more room")), text("html", in("last"), "new too", nil), text("markdown", "", "nobody asked", nil),
	}
	if err := os.WriteFile(in("bad"), []byte("of yesterday"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := prepareReports(list); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{}, files(t, dir)); diff != "" {
		t.Errorf("before the run there is (-want +got):\n%s", diff)
	}
	if err := writeReports(list, &report.Report{}); err == nil || err.Error() != "the report of --json could not be written: no more room" {
		t.Errorf("the error is %v", err)
	}
	if diff := cmp.Diff(map[string]string{"good": "new", "last": "new too"}, files(t, dir)); diff != "" {
		t.Errorf("after the run there is (-want +got):\n%s", diff)
	}
}

func TestReportsGoIntoFoldersThatAreMade(t *testing.T) {
	dir := t.TempDir()
	list := []reportFile{text("junit", filepath.Join(dir, "a", "b", "gate.xml"), "x", nil)}
	if err := errors.Join(prepareReports(list), writeReports(list, &report.Report{})); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"gate.xml": "x"}, files(t, filepath.Join(dir, "a", "b"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsNoFileIsNotReplaced(t *testing.T) {
	list := []reportFile{text("json", os.DevNull, "x", nil)}
	if err := errors.Join(prepareReports(list), writeReports(list, &report.Report{})); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(os.DevNull)
	if err != nil || info.Mode()&os.ModeDevice == 0 {
		t.Errorf("it is no device any more: %v, %v", info, err)
	}
}

func TestReportsThatCannotBeWrittenAreFoundBeforeTheRun(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"a folder": dir, "below a file": filepath.Join(dir, "file", "gate.xml")} {
		if prepareReports([]reportFile{text("junit", path, "", nil)}) == nil {
			t.Errorf("%s passes", name)
		}
	}
}

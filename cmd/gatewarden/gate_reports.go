package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gatewarden/gatewarden/internal/report"
)

// reportFile is a report that may be asked for.
type reportFile struct {
	flag, usage string
	write       func(*report.Report, io.Writer) error
	path        string // "" when it is not
}

func reportFiles() []reportFile {
	return []reportFile{
		{flag: "junit", usage: "write test results as JUnit XML into `FILE`", write: (*report.Report).JUnit},
		{flag: "json", usage: "write the run with its evidence as JSON into `FILE`", write: (*report.Report).JSON},
		{flag: "markdown", usage: "write a summary as Markdown into `FILE`", write: (*report.Report).Markdown},
		{flag: "html", usage: "write a page with the course of the evidence into `FILE`", write: (*report.Report).HTML},
	}
}

// prepareReports finds out before anything is started whether the reports can be
// written, and removes what an earlier build left: it must not be read as this one's
// when this one is killed.
func prepareReports(files []reportFile) error {
	taken := map[string]string{}
	for _, f := range files {
		if f.path == "" {
			continue
		}
		if other := taken[filepath.Clean(f.path)]; other != "" {
			return fmt.Errorf("--%s and --%s name the same file %s", other, f.flag, f.path)
		}
		taken[filepath.Clean(f.path)] = f.flag
		if err := makeRoom(f.path); err != nil {
			return fmt.Errorf("--%s: %w", f.flag, err)
		}
	}
	return nil
}

func makeRoom(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder", path)
	case info.Mode().IsRegular():
		if err := os.Remove(path); err != nil {
			return err
		}
	default:
		return nil // a device or a pipe stays
	}
	probe, err := os.CreateTemp(filepath.Dir(path), ".gatewarden-*")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// writeReports writes all reports that are asked for, as many as can be written.
func writeReports(files []reportFile, r *report.Report) error {
	var errs []error
	for _, f := range files {
		if f.path == "" {
			continue
		}
		if err := writeWhole(f.path, func(w io.Writer) error { return f.write(r, w) }); err != nil {
			errs = append(errs, fmt.Errorf("the report of --%s could not be written: %w", f.flag, err))
		}
	}
	return errors.Join(errs...)
}

// writeWhole writes a file so that it is there whole or not at all. What is no file,
// such as a pipe, is written to.
func writeWhole(path string, write func(io.Writer) error) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".gatewarden-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

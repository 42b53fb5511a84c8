// Package filelog reads the files that Kong's file-log plugin writes, or that a log
// agent copies: log records as JSON, one a line. It is one of the sources under
// collector.
//
// Files are found by patterns and followed through rotation, by rename and by copying
// and truncating. How far each was read is kept in step with the counts
// (collector.Checkpoints), so that after a crash, too, every line is counted exactly
// once.
//
// What is read and counted is a log: the lines that begin with one head, a file's first
// 4 KiB. Its name changes in a rotation by rename, its inode is used again for another
// file, and for a while it is in two files, or for ever: a copy begins as it does. So one rule
// tells where a log is: it is in the longest file that begins as it does. The shorter ones
// are copies, mostly in the making, and are left alone.
//
// Each log is in one of these states, which each look at the patterns finds out anew:
//
//	waiting   its file holds more than was read, and is closed. It is followed when there is room
//	followed  its file is open, and read as it grows. Read to its end, it makes room for one that
//	          waits, and is at rest. Not read to its end, it makes room for one that was written to
//	          later, and waits. Truncated, it is missing. Out of the patterns and silent, it is read
//	          to its end and forgotten
//	at rest   its file was read to its end, and is closed. It waits when it changes, and is followed
//	          when there is room that nobody needs
//	missing   it has no file that holds what was read: it was removed, or truncated, and there is no copy,
//	          or it cannot be opened. When one is found that begins as it did, it waits or is at rest. Cut
//	          to a beginning of itself, it goes on behind that, unless it grows back within a minute.
//	          After a day it is forgotten
//
// A file that begins as no log does is a new log, which waits. In a new life, logs begin as missing,
// whatever patterns they were found by.
package filelog

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Factory returns the factory of this kind of source. All that it builds are of one configuration.
func Factory() collector.Factory { return collector.Of("filelog", DefaultSettings(), new(kin).build) }

// Settings are those of one filelog source.
type Settings struct {
	Paths      []string            `yaml:"paths"`       // files, and patterns of path.Match
	From       string              `yaml:"from"`        // where the files of the first look are begun
	MaxLine    collector.ByteSize  `yaml:"max_line"`    // of one line; longer ones are left out
	MaxFiles   int                 `yaml:"max_files"`   // followed at one time
	Poll       gatewarden.Duration `yaml:"poll"`        // between looks for new lines
	CloseAfter gatewarden.Duration `yaml:"close_after"` // silence of a file that was rotated away
}

// The values of Settings.From.
const (
	fromBeginning = "beginning"
	fromEnd       = "end"
)

// DefaultSettings returns what holds where the configuration is silent.
func DefaultSettings() Settings {
	return Settings{
		From:       fromBeginning,
		MaxLine:    collector.MiB,
		MaxFiles:   256,
		Poll:       gatewarden.Duration(250 * time.Millisecond),
		CloseAfter: gatewarden.Duration(5 * time.Minute),
	}
}

// Validate returns an error with the code Invalid for settings that cannot work.
func (s *Settings) Validate() error {
	if len(s.Paths) == 0 {
		return gatewarden.Errorf(gatewarden.Invalid, "filelog: paths names no file").WithHint(`write paths: ["/var/log/kong/*.json*"]`)
	}
	for _, path := range s.Paths {
		if _, err := filepath.Match(path, ""); err != nil || path == "" {
			return gatewarden.Errorf(gatewarden.Invalid, "filelog: paths: %q is no pattern", path).WithHint("close every [ with a ]")
		}
		if path == "-" {
			return gatewarden.Errorf(gatewarden.Invalid, "filelog: paths: - is no file").WithHint("the standard input is a source of its own: - stdin: {}")
		}
	}
	switch {
	case !slices.Contains([]string{fromBeginning, fromEnd}, s.From):
		return gatewarden.Errorf(gatewarden.Invalid, "filelog: from is %q", s.From).WithHint("write beginning or end")
	case s.MaxLine < collector.ShortestLimit:
		return gatewarden.Errorf(gatewarden.Invalid, "filelog: max_line (%s) is below %s, which a record of Kong's may have", s.MaxLine, collector.ShortestLimit)
	case s.MaxFiles <= 0 || s.Poll <= 0 || s.CloseAfter <= 0:
		return gatewarden.Errorf(gatewarden.Invalid, "filelog: max_files, poll and close_after must be above zero")
	}
	return nil
}

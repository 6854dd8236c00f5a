// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// How much of a log an error quotes.
const (
	tailBytes = 8 << 10
	tailLines = 12
)

// logs are the output of the programs: one file for each program, and all output to one
// writer, if set.
type logs struct {
	dir    string
	output io.Writer

	mu    sync.Mutex // one line at a time to output, and files
	files []*os.File
}

// openWriter returns the writer for a program. Without an output, the writer is the file:
// the program then inherits the file, without a goroutine between.
func (l *logs) openWriter(name string) (io.Writer, error) {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(l.pathOf(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files = append(l.files, file)
	if l.output == nil {
		return file, nil
	}
	return io.MultiWriter(file, &prefixer{logs: l, prefix: name + ": "}), nil
}

func (l *logs) pathOf(name string) string { return filepath.Join(l.dir, name+".log") }

// quoteTail quotes the last lines of a program's log, for an error.
func (l *logs) quoteTail(name string) string {
	content, err := os.ReadFile(l.pathOf(name))
	if err != nil || len(content) == 0 {
		return ""
	}
	content = content[max(0, len(content)-tailBytes):]
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	return fmt.Sprintf("\nlast lines of %s:\n\t%s", name, strings.Join(lines, "\n\t"))
}

func (l *logs) closeFiles() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, file := range l.files {
		_ = file.Close()
	}
}

// prefixer names the program in every line, since several programs write to one output.
type prefixer struct {
	logs   *logs
	prefix string
	rest   []byte // an unfinished line
}

// Write passes on whole lines.
func (p *prefixer) Write(text []byte) (int, error) {
	p.logs.mu.Lock()
	defer p.logs.mu.Unlock()
	p.rest = append(p.rest, text...)
	for {
		line, rest, whole := bytes.Cut(p.rest, []byte("\n"))
		if !whole {
			return len(text), nil
		}
		if _, err := fmt.Fprintf(p.logs.output, "%s%s\n", p.prefix, line); err != nil {
			return 0, err
		}
		p.rest = rest
	}
}

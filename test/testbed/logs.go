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

// logs are what the programs print: one file each, and all of it to output,
// when there is one.
type logs struct {
	dir    string
	output io.Writer

	mu    sync.Mutex // one line at a time to output, and files
	files []*os.File
}

// open returns the writer for one program. Without an output it is the bare
// file, which the program then inherits: no goroutine stands in between.
func (l *logs) open(name string) (io.Writer, error) {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(l.path(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
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

func (l *logs) path(name string) string { return filepath.Join(l.dir, name+".log") }

// tail quotes the last lines of a program's log, for an error.
func (l *logs) tail(name string) string {
	content, err := os.ReadFile(l.path(name))
	if err != nil || len(content) == 0 {
		return ""
	}
	content = content[max(0, len(content)-tailBytes):]
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	return fmt.Sprintf("\nlast lines of %s:\n\t%s", name, strings.Join(lines, "\n\t"))
}

func (l *logs) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, file := range l.files {
		_ = file.Close()
	}
}

// prefixer names the program in every line, since several write to one place.
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

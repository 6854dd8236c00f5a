// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// auditPolicy logs the user and the object of every request, without content. Every request
// is logged at the end; a watch, which may never end, also at the start.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// Audit reads the API server's audit log.
type Audit struct {
	path, policyPath string
	// catchUp is nil if nobody writes the log meanwhile.
	catchUp *catchUp
}

// Mark is a place in the log.
type Mark int64

// AuditEvent is a request. A watch is a single event, at the start.
type AuditEvent struct {
	User      string
	UserAgent string
	// Verb is Kubernetes' own: get, list, watch, create, update, patch, delete,
	// deletecollection; without a resource, the HTTP method.
	Verb                                          string
	Group, Resource, Subresource, Namespace, Name string
	// URI is the request's path and query.
	URI  string
	Code int
	Time time.Time // when the request arrived
	// Took is the time until the answer; for a watch, until the answer begins.
	Took time.Duration
}

var (
	mutatingVerbs = []string{"create", "update", "patch", "delete", "deletecollection"}
	// Reviews in reviewGroups create an object that is never stored.
	reviewGroups = []string{"authentication.k8s.io", "authorization.k8s.io"}
)

// Mutating tells whether the request was a write, successful or not. Dry runs and access
// reviews are no writes; but a dry-run delete looks like a real delete, since dryRun is in
// its body.
func (e AuditEvent) Mutating() bool {
	return slices.Contains(mutatingVerbs, e.Verb) && !e.DryRun() && !slices.Contains(reviewGroups, e.Group)
}

// DryRun tells whether the query asks for a dry run.
func (e AuditEvent) DryRun() bool {
	uri, err := url.Parse(e.URI)
	return err == nil && uri.Query().Has("dryRun")
}

// Succeeded tells whether the answer was a 2xx.
func (e AuditEvent) Succeeded() bool { return e.Code/100 == 2 }

// Mark returns the end of the log, after all requests whose effect could be seen before.
func (a *Audit) Mark() (Mark, error) {
	if err := a.prepareRead(); err != nil {
		return 0, err
	}
	info, err := os.Stat(a.path)
	if err != nil {
		return 0, err
	}
	return Mark(info.Size()), nil
}

// Since returns the requests logged after the mark, in the order of the answers, with all
// requests whose effect could be seen before. Mark 0 is the beginning.
func (a *Audit) Since(mark Mark) ([]AuditEvent, error) {
	if err := a.prepareRead(); err != nil {
		return nil, err
	}
	file, err := os.Open(a.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines, err := linesAfter(file, mark)
	if err != nil {
		return nil, err
	}
	var events []AuditEvent
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return events, nil // the text after the last newline is still being written
		} else if err != nil {
			return nil, err
		}
		event, counts, err := parseAuditLine(line)
		if err != nil {
			return nil, err
		}
		if counts {
			events = append(events, event)
		}
	}
}

// linesAfter returns the lines that begin after the mark. A line still being written at the
// time of the mark began before the mark.
func linesAfter(file *os.File, mark Mark) (*bufio.Reader, error) {
	if mark == 0 {
		return bufio.NewReader(file), nil
	}
	if _, err := file.Seek(int64(mark)-1, io.SeekStart); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(file)
	if _, err := lines.ReadBytes('\n'); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return lines, nil
}

// prepareRead waits for the requests that are logged a moment later.
func (a *Audit) prepareRead() error {
	switch {
	case a == nil:
		return errors.New("the audit log is off: set Options.AuditLog")
	case a.catchUp == nil:
		return nil
	}
	return a.catchUp.wait(a.path)
}

// auditLine is the used part of an audit.k8s.io/v1 Event.
type auditLine struct {
	Stage      string
	RequestURI string
	Verb       string
	User       struct{ Username string }
	UserAgent  string
	ObjectRef  struct{ APIGroup, Resource, Subresource, Namespace, Name string }

	ResponseStatus           struct{ Code int }
	RequestReceivedTimestamp time.Time
	StageTimestamp           time.Time
}

// parseAuditLine also tells whether the line counts: a watch and a few other long requests
// are logged at both start and end, and count once. What waits for the log does not count.
func parseAuditLine(text []byte) (event AuditEvent, counts bool, err error) {
	var line auditLine
	if err := json.Unmarshal(bytes.TrimSpace(text), &line); err != nil {
		return AuditEvent{}, false, fmt.Errorf("audit log: %w: %.200s", err, text)
	}
	starts := line.Stage == "ResponseStarted"
	return AuditEvent{
		User:        line.User.Username,
		UserAgent:   line.UserAgent,
		Verb:        line.Verb,
		Group:       line.ObjectRef.APIGroup,
		Resource:    line.ObjectRef.Resource,
		Subresource: line.ObjectRef.Subresource,
		Namespace:   line.ObjectRef.Namespace,
		Name:        line.ObjectRef.Name,
		URI:         line.RequestURI,
		Code:        line.ResponseStatus.Code,
		Time:        line.RequestReceivedTimestamp,
		Took:        line.StageTimestamp.Sub(line.RequestReceivedTimestamp),
	}, starts == (line.Verb == "watch") && !onlyCatchesUp(line.RequestURI), nil
}

// newAudit writes the policy, and an empty log that can be read before the first event.
func newAudit(dir string) (*Audit, error) {
	a := &Audit{path: filepath.Join(dir, "audit.log"), policyPath: filepath.Join(dir, "audit-policy.yaml")}
	if err := os.WriteFile(a.policyPath, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	return a, os.WriteFile(a.path, nil, 0o600)
}

func (a *Audit) apiServerArgs() map[string][]string {
	return map[string][]string{
		"audit-policy-file": {a.policyPath},
		"audit-log-path":    {a.path},
		"audit-log-format":  {"json"},
		// Written before a short answer is sent: few lines are missing at any time.
		"audit-log-mode": {"blocking"},
		// No rotation, which would lose events.
		"audit-log-maxsize": {"0"},
	}
}

// SPDX-License-Identifier: Apache-2.0

package staleproxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Remember keeps the current objects of the kinds, for each kind of list request, and Old
// shows these objects later.
func (p *Proxy) Remember(ctx context.Context, resources ...string) error {
	for _, resource := range resources {
		p.mu.Lock()
		var asked []request
		for a := range p.seen[resource] {
			asked = append(asked, a)
		}
		p.mu.Unlock()
		if len(asked) == 0 {
			return fmt.Errorf("no client has listed %s yet", resource)
		}
		for _, a := range asked {
			body, err := p.readList(ctx, a)
			if err != nil {
				return err
			}
			p.mu.Lock()
			p.past[a] = body
			p.mu.Unlock()
		}
	}
	return nil
}

// Old answers lists of the kinds, where lists may be old, with the remembered objects.
func (p *Proxy) Old(resources ...string) {
	p.changeState(func() {
		for _, r := range resources {
			p.old[r] = true
		}
	})
}

func (p *Proxy) readList(ctx context.Context, a request) ([]byte, error) {
	to := *p.target
	to.Path, to.RawQuery = a.path, a.query
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", a.accept)
	answer, err := p.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("list %s: %s", a.path, answer.Status)
	}
	// The body alone does not tell its content type.
	return append([]byte(answer.Header.Get("Content-Type")+"\n"), body...), err
}

// serveRead answers a request to read.
func (p *Proxy) serveRead(w http.ResponseWriter, r *http.Request, resource, name string) {
	query := r.URL.Query()
	watches := query.Get("watch") == "true" || query.Get("watch") == "1"
	if name == "" && resource != "" {
		asked := request{path: r.URL.Path, query: selectorsOf(query), accept: listAccept(r.Header.Get("Accept"))}
		p.mu.Lock()
		if p.seen[resource] == nil {
			p.seen[resource] = map[request]bool{}
		}
		p.seen[resource][asked] = true
		past, old := p.past[asked], p.old[resource]
		p.mu.Unlock()
		switch {
		case !old || past == nil:
		case watches && query.Get("sendInitialEvents") == "true":
			writeRefusal(w, http.StatusBadRequest, "BadRequest") // API servers without this option answer the same: a list comes next
			return
		case !watches && query.Get("resourceVersion") == "0":
			p.countHeld(resource)
			writeAnswer(w, past)
			return
		}
	}
	if watches {
		p.serveWatch(w, r, resource)
		return
	}
	p.forward.ServeHTTP(w, r)
}

// listAccept returns the Accept header of a list for a request that may be a watch with
// initial events: for metadata alone, a list is of another kind.
func listAccept(accept string) string {
	return strings.ReplaceAll(accept, "as=PartialObjectMetadata;", "as=PartialObjectMetadataList;")
}

// selectorsOf returns the part of a query that selects objects.
func selectorsOf(query url.Values) string {
	kept := url.Values{}
	for _, key := range []string{"labelSelector", "fieldSelector"} {
		if value := query.Get(key); value != "" {
			kept.Set(key, value)
		}
	}
	return kept.Encode()
}

func writeAnswer(w http.ResponseWriter, past []byte) {
	for i, b := range past {
		if b == '\n' {
			w.Header().Set("Content-Type", string(past[:i]))
			_, _ = w.Write(past[i+1:])
			return
		}
	}
}

// chunk is a part of a watch's data.
type chunk struct {
	data []byte
	at   time.Time
}

// serveWatch passes on a watch's data, when allowed.
func (p *Proxy) serveWatch(w http.ResponseWriter, r *http.Request, resource string) {
	to := *p.target
	to.Path, to.RawQuery = r.URL.Path, r.URL.RawQuery
	ctx, end := context.WithCancel(r.Context())
	defer end()
	cut := p.streamOf(resource)
	go func() {
		select {
		case <-cut:
			end()
		case <-ctx.Done():
		}
	}()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), http.NoBody)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	ask.Header.Set("Accept", r.Header.Get("Accept"))
	answer, err := p.transport.RoundTrip(ask)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer answer.Body.Close()
	w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
	w.WriteHeader(answer.StatusCode)
	flush := http.NewResponseController(w)
	if err := flush.Flush(); err != nil {
		panic(http.ErrAbortHandler)
	}
	chunks := make(chan chunk, 1<<16)
	go func() {
		defer close(chunks)
		for {
			buffer := make([]byte, 64<<10)
			n, err := answer.Body.Read(buffer)
			if n > 0 {
				chunks <- chunk{buffer[:n], time.Now()}
			}
			if err != nil {
				return
			}
		}
	}()
	for c := range chunks {
		if !p.waitToTell(ctx, resource, c.at) {
			return
		}
		if _, err := w.Write(c.data); err != nil || flush.Flush() != nil {
			return
		}
	}
}

// waitToTell waits until data that came at a time may be passed on, and returns false when
// the client has gone.
func (p *Proxy) waitToTell(ctx context.Context, resource string, came time.Time) bool {
	for first := true; ; first = false {
		p.mu.Lock()
		frozen, wait, changed := p.frozen[resource], time.Until(came.Add(p.late[resource])), p.changed
		p.mu.Unlock()
		if !frozen && wait <= 0 {
			return ctx.Err() == nil
		}
		if first {
			p.countHeld(resource)
		}
		due := make(<-chan time.Time)
		if !frozen {
			due = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		case <-due:
		}
	}
}

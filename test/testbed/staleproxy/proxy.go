// SPDX-License-Identifier: Apache-2.0

// Package staleproxy stands between an operator and the API server, and shows a former
// state to the operator: for each kind, the proxy delays the events of watches, and answers
// lists that may be old with former objects. The proxy also cuts streams, loses answers and
// refuses writes. A list without a resourceVersion asks for the current state, and the API
// server always answers such a list, as Kubernetes promises.
package staleproxy

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// Proxy handles all requests of clients with its Config.
type Proxy struct {
	target    *url.URL
	transport http.RoundTripper
	forward   *httputil.ReverseProxy
	server    *httptest.Server

	mu      sync.Mutex
	changed chan struct{}               // closed, and replaced, when any of the following fields changes
	frozen  map[string]bool             // kinds whose watches show nothing
	late    map[string]time.Duration    // kinds whose watches show all events later, by this time
	old     map[string]bool             // kinds with lists that may be old
	past    map[request][]byte          // former answers to lists
	seen    map[string]map[request]bool // the requested lists, by kind
	streams map[string]chan struct{}    // closed, and replaced, to end the watches of a kind
	held    map[string]int              // how often data of a kind was delayed, or shown old
	spoil   func(Request) Fate
}

// request is a request for a list.
type request struct{ path, query, accept string }

// Request is a request to write.
type Request struct{ Method, Resource, Name, Subresource string }

// Fate is the outcome of a request to write.
type Fate int

// The fates.
const (
	// Pass lets the request through.
	Pass Fate = iota
	// Refuse answers with an error, without a write.
	Refuse
	// Contradict answers that the object has changed meanwhile, without a write.
	Contradict
	// LoseAnswer makes the write, and ends the connection without an answer.
	LoseAnswer
)

// New returns a proxy to the API server with the rights of the config.
func New(config *rest.Config) (*Proxy, error) {
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		target: target, transport: transport, changed: make(chan struct{}),
		frozen: map[string]bool{}, late: map[string]time.Duration{}, old: map[string]bool{},
		past: map[request][]byte{}, seen: map[string]map[request]bool{},
		streams: map[string]chan struct{}{}, held: map[string]int{},
		forward: &httputil.ReverseProxy{
			Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
			Transport:    transport,
			ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		},
	}
	p.server = httptest.NewServer(p)
	return p, nil
}

// Config returns a configuration for requests through the proxy.
func (p *Proxy) Config() *rest.Config { return &rest.Config{Host: p.server.URL, QPS: -1} }

// Close closes the proxy.
func (p *Proxy) Close() {
	p.Cut()
	p.server.Close()
}

// Cut ends all connections: watches start again from their last event.
func (p *Proxy) Cut() { p.server.CloseClientConnections() }

// CutWatches ends the watches of the kinds, in the middle of an event: watches start again
// from their last event.
func (p *Proxy) CutWatches(resources ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range resources {
		if stream := p.streams[r]; stream != nil {
			close(stream)
			delete(p.streams, r)
			p.held[r]++
		}
	}
}

// streamOf returns a channel that is closed to end the watches of a kind.
func (p *Proxy) streamOf(resource string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.streams[resource] == nil {
		p.streams[resource] = make(chan struct{})
	}
	return p.streams[resource]
}

// Held returns how often data of a kind was delayed so far, shown old, or cut: a fault
// without effect proves nothing.
func (p *Proxy) Held(resource string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held[resource]
}

func (p *Proxy) countHeld(resource string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[resource]++
}

// Freeze delays all events of watches of the kinds until Thaw. Kinds are named as in paths:
// "hostendpoints".
func (p *Proxy) Freeze(resources ...string) {
	p.changeState(func() {
		for _, r := range resources {
			p.frozen[r] = true
		}
	})
}

// Thaw lets all data through again, the delayed data first.
func (p *Proxy) Thaw() {
	p.changeState(func() { clear(p.frozen); clear(p.late); clear(p.old) })
}

// Delay makes watches of a kind show every event later.
func (p *Proxy) Delay(resource string, by time.Duration) {
	p.changeState(func() { p.late[resource] = by })
}

// Spoil decides on the fate of requests to write; nil lets all requests pass.
func (p *Proxy) Spoil(fate func(Request) Fate) { p.changeState(func() { p.spoil = fate }) }

func (p *Proxy) changeState(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
	close(p.changed)
	p.changed = make(chan struct{})
}

// ServeHTTP passes requests on, or answers with their fate.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resource, name, subresource := parsePath(r.URL.Path)
	if r.Method == http.MethodGet {
		p.serveRead(w, r, resource, name)
		return
	}
	p.mu.Lock()
	spoil := p.spoil
	p.mu.Unlock()
	if spoil == nil {
		p.forward.ServeHTTP(w, r)
		return
	}
	switch spoil(Request{r.Method, resource, name, subresource}) {
	case Refuse:
		writeRefusal(w, http.StatusInternalServerError, "InternalError")
	case Contradict:
		writeRefusal(w, http.StatusConflict, "Conflict")
	case LoseAnswer:
		p.forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	default:
		p.forward.ServeHTTP(w, r)
	}
}

func writeRefusal(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"` + reason + `","message":"refused by the proxy"}`))
}

// parsePath returns the kind and the object of a path.
func parsePath(path string) (resource, name, subresource string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	skip := 2 // api/v1
	if parts[0] == "apis" {
		skip = 3
	}
	if len(parts) <= skip {
		return "", "", ""
	}
	if parts = parts[skip:]; parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	parts = append(parts, "", "")
	return parts[0], parts[1], parts[2]
}

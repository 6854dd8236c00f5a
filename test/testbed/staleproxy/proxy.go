// SPDX-License-Identifier: Apache-2.0

// Package staleproxy stands between an operator and the API server, and shows it the
// past: per kind, it holds back what watches tell, and answers lists that may be old with
// what was there some time ago. It also cuts streams, loses answers and refuses writes.
// What asks for the present is always answered by the API server, as Kubernetes promises
// it: a list without a resourceVersion.
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

// Proxy is in the way of all requests of whoever uses its Config.
type Proxy struct {
	target    *url.URL
	transport http.RoundTripper
	forward   *httputil.ReverseProxy
	server    *httptest.Server

	mu      sync.Mutex
	changed chan struct{}               // closed, and made anew, when what follows changes
	frozen  map[string]bool             // kinds whose watches tell nothing
	late    map[string]time.Duration    // kinds whose watches tell everything so much later
	old     map[string]bool             // kinds of which lists may be old
	past    map[request][]byte          // what lists were answered with then
	seen    map[string]map[request]bool // the lists that are asked for, by kind
	streams map[string]chan struct{}    // closed, and made anew, to end the watches of a kind
	held    map[string]int              // how often something of a kind was kept back, or shown old
	spoil   func(Request) Fate
}

// request is a list, as it is asked for.
type request struct{ path, query, accept string }

// Request is one to write.
type Request struct{ Method, Resource, Name, Subresource string }

// Fate is what becomes of a request to write.
type Fate int

// The fates.
const (
	// Pass lets the request through.
	Pass Fate = iota
	// Refuse answers with an error, and does nothing.
	Refuse
	// Contradict answers that the object has changed meanwhile, and does nothing.
	Contradict
	// LoseAnswer does what is asked for, and ends the connection without an answer.
	LoseAnswer
)

// New returns a proxy to the API server that has the rights of the config.
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

// Config leads through the proxy.
func (p *Proxy) Config() *rest.Config { return &rest.Config{Host: p.server.URL, QPS: -1} }

// Close ends it.
func (p *Proxy) Close() {
	p.Cut()
	p.server.Close()
}

// Cut ends all connections: watches begin anew, from where they were.
func (p *Proxy) Cut() { p.server.CloseClientConnections() }

// CutWatches ends the watches of the kinds, in the middle of what they tell: they begin
// anew from where they were.
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

// stream returns what is closed when the watches of a kind are to end.
func (p *Proxy) stream(resource string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.streams[resource] == nil {
		p.streams[resource] = make(chan struct{})
	}
	return p.streams[resource]
}

// Held returns how often something of a kind was kept back so far, shown as it was, or
// cut: a fault of which nothing came shows nothing.
func (p *Proxy) Held(resource string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held[resource]
}

func (p *Proxy) hold(resource string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[resource]++
}

// Freeze holds back what watches of the kinds tell, until they thaw. Kinds are named as
// in paths: "hostendpoints".
func (p *Proxy) Freeze(resources ...string) {
	p.change(func() {
		for _, r := range resources {
			p.frozen[r] = true
		}
	})
}

// Thaw lets everything through again, what was held back first.
func (p *Proxy) Thaw() {
	p.change(func() { clear(p.frozen); clear(p.late); clear(p.old) })
}

// Delay has watches of a kind tell everything so much later.
func (p *Proxy) Delay(resource string, by time.Duration) { p.change(func() { p.late[resource] = by }) }

// Spoil decides what becomes of requests to write; nil lets all pass.
func (p *Proxy) Spoil(fate func(Request) Fate) { p.change(func() { p.spoil = fate }) }

func (p *Proxy) change(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
	close(p.changed)
	p.changed = make(chan struct{})
}

// ServeHTTP passes requests on, or what becomes of them.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resource, name, subresource := parse(r.URL.Path)
	if r.Method == http.MethodGet {
		p.read(w, r, resource, name)
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
		refuse(w, http.StatusInternalServerError, "InternalError")
	case Contradict:
		refuse(w, http.StatusConflict, "Conflict")
	case LoseAnswer:
		p.forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	default:
		p.forward.ServeHTTP(w, r)
	}
}

func refuse(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"` + reason + `","message":"refused by the proxy"}`))
}

// parse returns which kind a path is of, and which object.
func parse(path string) (resource, name, subresource string) {
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

// SPDX-License-Identifier: Apache-2.0

package system

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
)

// weather stands between an operator and the API server, and spoils some of the
// requests that pass through it.
type weather struct {
	server  *httptest.Server
	forward *httputil.ReverseProxy

	mu    sync.Mutex
	fault *fault
	blind answer   // to requests to read; nil lets them through
	asked []string // to write since the fault began: method and path
}

// fault is what is done to requests whose path has one of the words in it.
type fault struct {
	paths  []string
	answer answer
}

// answer is what becomes of a request; forward would do it.
type answer func(w http.ResponseWriter, r *http.Request, forward http.Handler)

// answering answers with an error of Kubernetes, and does nothing.
func answering(code int, reason metav1.StatusReason, retryAfter string) answer {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: "bad weather: " + string(reason),
		})
	}
}

// hanging never answers. That the client has gone is seen only once the request
// has been read.
func hanging(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// losing does what it is asked for, and loses the answer.
func losing(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
	forward.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// but spares the requests whose path ends in the word.
func but(word string, a answer) answer {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if strings.HasSuffix(r.URL.Path, word) {
			forward.ServeHTTP(w, r)
			return
		}
		a(w, r, forward)
	}
}

func newWeather(t *testing.T, config *rest.Config) *weather {
	t.Helper()
	g := NewWithT(t)
	target, err := url.Parse(config.Host)
	g.Expect(err).NotTo(HaveOccurred())
	transport, err := rest.TransportFor(config)
	g.Expect(err).NotTo(HaveOccurred())
	w := &weather{forward: &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // watches
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}}
	w.server = httptest.NewServer(w)
	t.Cleanup(func() {
		w.server.CloseClientConnections()
		w.server.Close()
	})
	return w
}

// config leads through the weather.
func (w *weather) config() *rest.Config {
	return options.UnthrottledConfig(&rest.Config{Host: w.server.URL})
}

// ServeHTTP passes requests on, but for those that the fault hits.
func (w *weather) ServeHTTP(answer http.ResponseWriter, r *http.Request) {
	if f := w.hit(r); f != nil {
		f.answer(answer, r, w.forward)
		return
	}
	w.forward.ServeHTTP(answer, r)
}

func (w *weather) hit(r *http.Request) *fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Method == http.MethodGet {
		if w.blind == nil {
			return nil
		}
		return &fault{answer: w.blind}
	}
	w.asked = append(w.asked, r.Method+" "+r.URL.Path)
	if w.fault != nil && slices.ContainsFunc(w.fault.paths, func(path string) bool { return strings.Contains(r.URL.Path, path) }) {
		return w.fault
	}
	return nil
}

func (w *weather) turn(f *fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault, w.asked = f, nil
}

// darken answers so to whoever reads, and ends all watches; nil lets all through
// again.
func (w *weather) darken(a answer) {
	w.mu.Lock()
	w.blind = a
	w.mu.Unlock()
	if a != nil {
		w.server.CloseClientConnections()
	}
}

// most returns what was asked for most often since the weather turned, and how
// often.
func (w *weather) most() (request string, times int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := map[string]int{}
	for _, a := range w.asked {
		if strings.Contains(a, "/events") {
			continue // each is another event
		}
		counts[a]++
		if counts[a] > times {
			request, times = a, counts[a]
		}
	}
	return request, times
}

// journal keeps the lines that an operator logs.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) logger() logr.Logger {
	return funcr.New(func(_, args string) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.lines = append(j.lines, args)
	}, funcr.Options{})
}

// with returns the lines that hold all the words.
func (j *journal) with(words ...string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []string
	for _, line := range j.lines {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			found = append(found, line)
		}
	}
	return found
}

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

// faultProxy stands between an operator and the API server, and spoils some of the
// operator's requests.
type faultProxy struct {
	server  *httptest.Server
	forward *httputil.ReverseProxy

	mu    sync.Mutex
	fault *fault
	blind answer   // to requests to read; nil lets these through
	asked []string // requests to write since the fault began: method and path
}

// fault is an answer to requests whose path contains one of the words.
type fault struct {
	paths  []string
	answer answer
}

// answer is the outcome of a request; forward would pass the request on.
type answer func(w http.ResponseWriter, r *http.Request, forward http.Handler)

// answerWith answers with an error of Kubernetes, without a write.
func answerWith(code int, reason metav1.StatusReason, retryAfter string) answer {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: "injected fault: " + string(reason),
		})
	}
}

// neverAnswer never answers. The server notices a lost client only once the request has
// been read.
func neverAnswer(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// loseAnswer passes the request on, and loses the answer.
func loseAnswer(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
	forward.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// exceptFor spares the requests whose path ends in the word.
func exceptFor(word string, a answer) answer {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if strings.HasSuffix(r.URL.Path, word) {
			forward.ServeHTTP(w, r)
			return
		}
		a(w, r, forward)
	}
}

func newFaultProxy(t *testing.T, config *rest.Config) *faultProxy {
	t.Helper()
	g := NewWithT(t)
	target, err := url.Parse(config.Host)
	g.Expect(err).NotTo(HaveOccurred())
	transport, err := rest.TransportFor(config)
	g.Expect(err).NotTo(HaveOccurred())
	w := &faultProxy{forward: &httputil.ReverseProxy{
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

// clientConfig leads through the proxy.
func (w *faultProxy) clientConfig() *rest.Config {
	return options.UnthrottledConfig(&rest.Config{Host: w.server.URL})
}

// ServeHTTP passes requests on, except for requests with a fault.
func (w *faultProxy) ServeHTTP(answer http.ResponseWriter, r *http.Request) {
	if f := w.faultFor(r); f != nil {
		f.answer(answer, r, w.forward)
		return
	}
	w.forward.ServeHTTP(answer, r)
}

func (w *faultProxy) faultFor(r *http.Request) *fault {
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

func (w *faultProxy) setFault(f *fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault, w.asked = f, nil
}

// answerReads answers all requests to read, and ends all watches; nil lets all requests
// through again.
func (w *faultProxy) answerReads(a answer) {
	w.mu.Lock()
	w.blind = a
	w.mu.Unlock()
	if a != nil {
		w.server.CloseClientConnections()
	}
}

// mostFrequent returns the most frequent request since the last change of the fault, with
// its number.
func (w *faultProxy) mostFrequent() (request string, times int) {
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

func (j *journal) newLogger() logr.Logger {
	return funcr.New(func(_, args string) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.lines = append(j.lines, args)
	}, funcr.Options{})
}

// linesWith returns the lines with all the words.
func (j *journal) linesWith(words ...string) []string {
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

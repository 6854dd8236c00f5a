// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Bounds of the port of the metrics. Anybody who reaches it can send a token, and each
// that is not known yet is a question to the API server.
const (
	// reviewsASecond and reviewsAtOnce are how many questions there are.
	reviewsASecond = 10
	reviewsAtOnce  = 20
	// requestsASecond and requestsAtOnce are how many requests are read of one address,
	// of which as many are told apart as maxSources.
	requestsASecond = 2
	requestsAtOnce  = 10
	maxSources      = 1024
)

// metricsOptions returns how metrics are served: over HTTPS and HTTP/1.1, to those whom
// the API server lets read them.
func (o *Options) metricsOptions() metricsserver.Options {
	return metricsserver.Options{
		BindAddress: o.MetricsAddress, SecureServing: true, FilterProvider: filterMetrics,
		CertDir: o.MetricsCertDir, // its files are read again when they change
		TLSOpts: []func(*tls.Config){func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }},
	}
}

// filterMetrics lets those through whom the API server lets read metrics. It has a
// client of its own, so that a flood of tokens takes nothing from the operator's and
// little from the API server, and says nothing of those whom it does not let through.
func filterMetrics(config *rest.Config, client *http.Client) (metricsserver.Filter, error) {
	config = rest.CopyConfig(config)
	config.RateLimiter = refusing{flowcontrol.NewTokenBucketRateLimiter(reviewsASecond, reviewsAtOnce)}
	reviewed, err := filters.WithAuthenticationAndAuthorization(config, client)
	if err != nil {
		return nil, err
	}
	return func(_ logr.Logger, handler http.Handler) (http.Handler, error) {
		handler, err := reviewed(logr.Discard(), handler)
		return (&sources{}).limit(handler), err
	}, nil
}

// refusing is a rate limiter that has nobody wait: whoever floods would make many.
type refusing struct{ flowcontrol.RateLimiter }

// Wait implements flowcontrol.RateLimiter.
func (r refusing) Wait(context.Context) error {
	if r.TryAccept() {
		return nil
	}
	return errors.New("there are too many requests")
}

// sources limits the requests of each address.
type sources struct {
	mu   sync.Mutex
	seen map[string]flowcontrol.RateLimiter
}

func (s *sources) limit(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		if !s.of(host).TryAccept() {
			http.Error(w, "Too many requests", http.StatusTooManyRequests)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

func (s *sources) of(host string) flowcontrol.RateLimiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	limiter := s.seen[host]
	if limiter == nil {
		if s.seen == nil || len(s.seen) >= maxSources {
			s.seen = map[string]flowcontrol.RateLimiter{}
		}
		limiter = flowcontrol.NewTokenBucketRateLimiter(requestsASecond, requestsAtOnce)
		s.seen[host] = limiter
	}
	return limiter
}

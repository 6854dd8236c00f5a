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

// Bounds of the port for metrics. Any client of the port can send a token, and each unknown
// token needs a review by the API server.
const (
	// reviewsASecond and reviewsAtOnce limit the reviews.
	reviewsASecond = 10
	reviewsAtOnce  = 20
	// requestsASecond and requestsAtOnce limit the requests of one address, and
	// maxSources limits the number of remembered addresses.
	requestsASecond = 2
	requestsAtOnce  = 10
	maxSources      = 1024
)

// metricsOptions returns how metrics are served: over HTTPS and HTTP/1.1, to clients
// that the API server lets read metrics.
func (o *Options) metricsOptions() metricsserver.Options {
	return metricsserver.Options{
		BindAddress: o.MetricsAddress, SecureServing: true, FilterProvider: filterMetrics,
		CertDir: o.MetricsCertDir, // the server reads changed files again
		TLSOpts: []func(*tls.Config){func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }},
	}
}

// filterMetrics accepts requests of clients that the API server lets read metrics. The
// filter has a separate client, so that a flood of tokens takes no requests from the
// operator and few from the API server. The filter does not log rejected requests.
func filterMetrics(config *rest.Config, client *http.Client) (metricsserver.Filter, error) {
	config = rest.CopyConfig(config)
	config.RateLimiter = refusing{flowcontrol.NewTokenBucketRateLimiter(reviewsASecond, reviewsAtOnce)}
	reviewed, err := filters.WithAuthenticationAndAuthorization(config, client)
	if err != nil {
		return nil, err
	}
	return func(_ logr.Logger, handler http.Handler) (http.Handler, error) {
		handler, err := reviewed(logr.Discard(), handler)
		return (&sources{}).limitRequests(handler), err
	}, nil
}

// refusing is a rate limiter without waiting: a flood would fill the memory with
// waiting requests.
type refusing struct{ flowcontrol.RateLimiter }

// Wait implements flowcontrol.RateLimiter.
func (r refusing) Wait(context.Context) error {
	if r.TryAccept() {
		return nil
	}
	return errors.New("too many reviews of tokens at once")
}

// sources limits the requests of each address.
type sources struct {
	mu   sync.Mutex
	seen map[string]flowcontrol.RateLimiter
}

func (s *sources) limitRequests(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		if !s.limiterFor(host).TryAccept() {
			http.Error(w, "Too many requests", http.StatusTooManyRequests)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

func (s *sources) limiterFor(host string) flowcontrol.RateLimiter {
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

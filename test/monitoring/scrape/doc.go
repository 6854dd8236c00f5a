// SPDX-License-Identifier: Apache-2.0

// Package scrape runs a real Prometheus, which scrapes over TLS and with a token, as in a
// cluster.
package scrape

// SPDX-License-Identifier: Apache-2.0

// Package monitoring tries the metrics, the alerts and the dashboard on a real Prometheus.
package monitoring

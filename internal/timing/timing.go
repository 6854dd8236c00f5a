// SPDX-License-Identifier: Apache-2.0

// Package timing has every duration that the operator waits for by itself. Durations that
// a policy declares are in the API. docs/timing.md is the same page for users.
package timing

import "time"

// Writing.
const (
	// ReconcileTimeout ends a reconciliation when the API server does not answer.
	ReconcileTimeout = 30 * time.Second
	// ConflictDelay is the wait for a newer cache after a conflict. Normally the event with
	// the newer object arrives before.
	ConflictDelay = 200 * time.Millisecond
	// WriteVisible is the wait for the cache to show a write, before the object is written
	// again.
	WriteVisible = time.Second
	// InvalidRetry is the pause after a write that the API server finds invalid. A pause of
	// 30 seconds would load the API server if thousands of objects are invalid.
	InvalidRetry = time.Minute
	// IncompleteRetryFirst and IncompleteRetryLast bound the pause after a write that was not
	// stored as written. The pause doubles after each such write.
	IncompleteRetryFirst = time.Second
	IncompleteRetryLast  = 30 * time.Second
	// QueueRetryFirst and QueueRetryLast bound the delay of a retry after an error.
	QueueRetryFirst = 100 * time.Millisecond
	QueueRetryLast  = 30 * time.Second
	// QueueRetryFew is the longest delay while few objects fail, short enough to notice soon
	// that the API server works again. While many objects fail, the longest delay is
	// QueueRetryEach for each failing object.
	QueueRetryFew  = 3 * time.Second
	QueueRetryEach = 20 * time.Millisecond
)

// Reliable caches.
const (
	// CacheLag is the wait for the cache to show a write that decides a rollout. Afterwards
	// the operator asks the API server, at most once in this time.
	CacheLag = 300 * time.Millisecond
	// AskAgain is when the API server is asked again while the cache is stale.
	AskAgain = time.Second
	// StartVisible is the wait for the cache to show the start of a node. A start that is
	// missing after this time was not written.
	StartVisible = 10 * time.Second
	// WritingPoll is how soon to check again whether running writes have ended, before a
	// deletion finishes.
	WritingPoll = 100 * time.Millisecond
)

// Hosts.
const (
	// StageSettle is the time for the objects of a write stage to reach every node, before
	// the next stage begins. Felix needs 0.7 to 1.7 seconds from the API server to the rules
	// of the node.
	StageSettle = 2 * time.Second
	// FailsafeSettle is the same time for failsafe ports: Felix restarts after a change of
	// its configuration, which takes 2.8 seconds on a small node.
	FailsafeSettle = 5 * time.Second
	// CalicoPatience is how long a policy in deletion waits for a Calico that does not
	// answer. Afterwards the policy goes: a missing Calico never blocks a deletion for ever.
	CalicoPatience = time.Minute
	// CalicoReadPatience is how long the first read of Calico may take before the status
	// reports the delay: longer than any healthy server takes.
	CalicoReadPatience = 30 * time.Second
	// CalicoAnswer is the longest wait for one answer of Calico's API, because all other work
	// must continue without an answer.
	CalicoAnswer = 5 * time.Second
	// CalicoCalmAttempt is the duration of an attempt to follow Calico after which the next
	// attempt starts with the shortest delay.
	CalicoCalmAttempt = 10 * time.Second
	// CalicoTierLag is the time from the appearance of a tier until policies are listed
	// again. Calico's API server looks tiers up in a cache that may be delayed.
	CalicoTierLag = time.Second
	// CalicoMeasureFirst and CalicoMeasureLast bound the delay until it is measured again
	// whether the objects of a kind fit into memory.
	CalicoMeasureFirst = 5 * time.Second
	CalicoMeasureLast  = 30 * time.Second
)

// Rollout.
const (
	// DefaultSoak and DefaultTimeout are the defaults of spec.rollout.
	DefaultSoak    = 60 * time.Second
	DefaultTimeout = 120 * time.Second
	// Granularity is that of times in the API. A second is added to every declared time, so
	// that at least the declared time passes.
	Granularity = time.Second
	// ObserverAnnounce is the time for observers to announce their presence, by an answer to
	// the first probe round, before a node is started without observers.
	ObserverAnnounce = 3 * time.Second
	// ProbeInterval is the time between probe rounds while a node is in flight.
	ProbeInterval = 5 * time.Second
	// PatrolInterval is the time between probe rounds of enforced nodes.
	PatrolInterval = 5 * time.Minute
	// ProbeConnect and ProbeHandshake limit one attempt on a target, and ProbePause is the
	// pause before the next attempt. A target that never connects takes 3.4 seconds.
	ProbeConnect   = time.Second
	ProbeHandshake = time.Second
	ProbePause     = 200 * time.Millisecond
	// ObserverRetryFirst and ObserverRetryLast bound the delay of an observer's retry.
	ObserverRetryFirst = 100 * time.Millisecond
	ObserverRetryLast  = 5 * time.Second
)

// Posture.
const (
	// TLSInterval is the default of spec.posture.tls.intervalSeconds.
	TLSInterval = 5 * time.Minute
	// TLSJitter is the part of the interval that an observer adds at most, so that observers
	// do not probe all at once.
	TLSJitter = 0.1
	// TLSRoundMost is how long an observer takes to probe all targets of a node at most.
	TLSRoundMost = time.Minute
	// ClockSkew is how far the clocks of two machines may be apart.
	ClockSkew = 5 * time.Minute
)

// API servers.
const (
	// APIServerSteady is how long an address must be in the EndpointSlice of the API servers
	// before the address counts as an API server's. API servers correct the EndpointSlice
	// every 10 seconds (k8s.io/kubernetes/pkg/controlplane,
	// DefaultEndpointReconcilerInterval), so that a foreign entry does not stay for 20. The
	// delay cuts off no API server: a denied API server could not have written its address
	// into the EndpointSlice.
	APIServerSteady = 20 * time.Second
	// APIServerReturn is how long a known address counts again at once when it comes back. An
	// API server removes its address while restarting.
	APIServerReturn = 10 * time.Minute
	// APIServerRemembered is for how long a missing API server keeps its place in the control
	// plane: longer than the usual repair of a machine.
	APIServerRemembered = 7 * 24 * time.Hour
)

// Taints.
const (
	// EvictionPause is how long evicted pods have to start on other nodes before the operator
	// evicts pods of further nodes.
	EvictionPause = 10 * time.Second
	// HeldTaintCheck is when a node with a held taint is looked at again: the end of the hold
	// causes no event of the node. The time is HeldTaintSpacing for each held node, if that
	// is longer.
	HeldTaintCheck   = 5 * time.Second
	HeldTaintSpacing = 20 * time.Millisecond
	// NodeUnwritable is how long writes to a node must have failed before the operator stops
	// waiting for the node's taint.
	NodeUnwritable = time.Minute
)

// Drift.
const (
	// ContestedInterval is the least time between two writes to an object with a contested
	// field.
	ContestedInterval = time.Second
	// ContestKept is how long a manager that rewrites a field is remembered. Tools that
	// restore a declaration look every few minutes, and some only every hour.
	ContestKept = 6 * time.Hour
	// ContestQuiet and ContestQuietMost bound the time for which a contested field must stay
	// as repaired, so that the contest is over. ContestQuietTool and ContestQuietToolMost are
	// the bounds for a tool that is known to return.
	ContestQuiet         = 30 * time.Second
	ContestQuietMost     = 30 * time.Minute
	ContestQuietTool     = 15 * time.Minute
	ContestQuietToolMost = 4 * time.Hour
)

// Reports.
const (
	// StatusInterval is the least time between two writes of a policy's status.
	StatusInterval = time.Second
	// CompareInterval is the least time between two comparisons for a report.
	CompareInterval = 250 * time.Millisecond
	// ReportDelay is how long a change of only the report waits for further changes: for the
	// repair that follows, and for the next objects of a storm.
	ReportDelay = 200 * time.Millisecond
	// EndpointsDelay is the same delay for changes of endpoints that no policy waits for: in
	// a large cluster, endpoints come and go all the time.
	EndpointsDelay = 3 * time.Second
	// LogRepeat is the time during which a logged error is not logged again.
	LogRepeat = time.Minute
)

// Backups of etcd.
const (
	// BackupRead ends a read of backups when the API server does not answer.
	BackupRead = 5 * time.Second
	// BackupReread is how often the backups of a policy are read.
	BackupReread = time.Minute
	// BackupKept is how long the last answer counts while the backups cannot be read.
	BackupKept = 5 * time.Minute
	// BackupSkew is how far ahead of the operator's clock the time of a backup may be.
	BackupSkew = 5 * time.Minute
)

// Policy reports, with --reports.
const (
	// PolicyReportCheck is how often a report is read and compared, although nothing that it
	// tells has changed: somebody may have changed or deleted the report.
	PolicyReportCheck = time.Hour
	// PolicyReportRetry is the pause after a report could not be written, and after no kind
	// of report was served.
	PolicyReportRetry = time.Minute
	// PolicyReportWrite ends the write of a report when the API server does not answer.
	PolicyReportWrite = 5 * time.Second
)

// Leader election.
const (
	// LeaseDuration is how long a leader that does not renew its lease is waited for. After a
	// crash another replica leads within LeaseDuration and the time of two looks at the lease,
	// which is 17 seconds: the replica may have looked just before the last renewal, and looks
	// again some time after the lease has ended.
	LeaseDuration = 12 * time.Second
	// LeaseRenewal is how long a leader tries to renew its lease before it ends, beginning
	// LeaseRetry after the last renewal. A second leader begins later than that.
	LeaseRenewal = 8 * time.Second
	// LeaseRetry is the time between two renewals, and the least time between two looks of
	// another replica, which is up to 1.2 times LeaseRetry longer (client-go, leaderelection,
	// JitterFactor).
	LeaseRetry = time.Second
)

// The process.
const (
	// Grace is the longest time that the process takes to end by itself: less than the 20
	// seconds after which the kubelet kills the process (terminationGracePeriodSeconds).
	Grace = 15 * time.Second
	// CacheSyncAnswer limits the question whether the caches are synced. The caches know the
	// answer at once.
	CacheSyncAnswer = 200 * time.Millisecond
	// MemoryCheck is how long no garbage may have been collected for the operator to be at
	// rest. Then the memory that a burst of work took is returned to the machine.
	MemoryCheck = 5 * time.Second
	// MemoryReturnPause is the least time between two returns of memory: each costs a
	// collection of garbage.
	MemoryReturnPause = time.Minute
	// LeaderPatience is how long cpnp-operator uninstall waits for an operator that renews its
	// lease, before a policy is deleted: longer than another replica needs to take over.
	LeaderPatience = 30 * time.Second
	// UninstallPoll is the time between two looks of cpnp-operator uninstall.
	UninstallPoll = time.Second
)

// Probes of TLS.
const (
	// TLSConnection limits one connection of a TLS probe. The kernel repeats a lost SYN
	// after a second, so a single lost packet does not count.
	TLSConnection = 3 * time.Second
	// TLSTarget limits all connections of a TLS probe to one port. A good server takes less
	// than 100 milliseconds.
	TLSTarget = 15 * time.Second
)

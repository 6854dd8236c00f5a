// SPDX-License-Identifier: Apache-2.0

// Package backup finds the newest backup of etcd, and judges the age of the backup, for the
// condition BackupFresh.
//
// Look reads one of five sources: CronJobs and Jobs, a Lease, an annotation of the policy, an
// Etcd of etcd-druid, or the snapshot files of RKE2 and k3s. Every writer of a source can
// decide the condition: a source is a statement about a backup, and no proof that the backup
// can be restored.
//
// Look waits for the API server. Therefore a Poller reads from time to time and keeps the
// answers in a Memory. Reconcilers take the last answer from the Memory without waiting.
// Judge is pure.
//
// By default, the operator has none of the rights for Look. An administrator grants the
// rights: see Rights and docs/backup.md.
package backup

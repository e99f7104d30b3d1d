"""The end of a run on AWS: its data kept as a snapshot, the configuration pointed at it, the cluster deleted.

Read in this order: `settings` (what is wanted), `state` (what is found), `decide` (what is next: `up_to_snapshot`, then
`from_snapshot`), `look` and `act` (one call each), `finalize` (the loop), `sweep` (the same without anybody waiting).
"""

"""The parameters of sorting: those of the lab's sort.sh with its values, and those of what is better known since."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class SortSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Spike sorting of a channel's high-pass."""

    sorter: Annotated[
        Literal["raypipe", "mountainsort5"],
        Meta(description="who sorts; mountainsort5 (scheme 2) needs raypipe-ephys[sorting]"),
    ] = "raypipe"
    samplerate: Annotated[float, Meta(gt=0, description="samples per second of the high-pass")] = 30000.0
    mask_artifacts: Annotated[bool, Meta(description="leave out stretches of far more power than others")] = True
    mask_threshold: Annotated[
        float, Meta(gt=0, description="standard deviations of stretches' root power above the mean, beyond which")
    ] = 10.0
    mask_chunk_size: Annotated[int, Meta(ge=30, description="samples of such a stretch")] = 2000
    noise: Annotated[
        Literal["mad", "std"],
        Meta(
            description="unit of detect_threshold: median absolute deviation / 0.6745, or the lab's standard deviation"
        ),
    ] = "mad"
    detect_sign: Annotated[Literal[-1, 0, 1], Meta(description="-1 troughs, 1 peaks, 0 both are events")] = 0
    detect_interval: Annotated[
        int, Meta(ge=1, le=300, description="samples around an event in which there is no other")
    ] = 30
    detect_threshold: Annotated[float, Meta(gt=0, description="least height of an event, in units of the noise")] = 4.0
    adjacency_radius: Annotated[
        float, Meta(ge=0, description="distance of electrodes that are sorted together; channels are sorted alone: 0")
    ] = 0.0
    clip_size: Annotated[int, Meta(ge=40, le=150, description="samples of a clip that is clustered")] = 50
    num_features: Annotated[int, Meta(ge=2, le=30, description="principal components of clips")] = 10
    max_num_clips_for_pca: Annotated[int, Meta(ge=100, description="clips from which components are found")] = 2000
    isocut_threshold: Annotated[
        float, Meta(gt=0, description="ISO-SPLIT's dip score from which on two clusters are two")
    ] = 1.0
    min_cluster_size: Annotated[int, Meta(ge=2, description="least events of a cluster")] = 10
    parcels: Annotated[int, Meta(ge=2, le=1000, description="parcels that ISO-SPLIT begins with")] = 200
    max_clustered: Annotated[
        int,
        Meta(ge=1000, le=200_000, description="events that are clustered, evenly taken; others join their clusters"),
    ] = 20_000
    templates_clip_size: Annotated[int, Meta(ge=60, le=600, description="samples of a template")] = 150
    merge: Annotated[
        bool, Meta(description="join clusters that are one when their spikes are aligned; false: as the lab's")
    ] = True
    merge_shift: Annotated[int, Meta(ge=0, le=40, description="samples by which joined clusters may be apart")] = 30
    merge_similarity: Annotated[
        float, Meta(ge=0, le=1, description="least cosine of templates of clusters that are joined")
    ] = 0.8
    merge_distance: Annotated[
        float, Meta(ge=0, description="largest distance of clusters that are joined, in standard deviations")
    ] = 2.8
    match: Annotated[
        bool, Meta(description="find units' spikes anew by their templates, overlapping ones too; false: as the lab's")
    ] = True
    match_limit: Annotated[
        float, Meta(gt=0, description="spikes are looked for near samples of this size, in units of the noise")
    ] = 3.0
    match_certainty: Annotated[
        float, Meta(gt=0, description="least product of a spike with its template, in standard deviations of noise")
    ] = 5.0
    match_share: Annotated[
        float, Meta(ge=0, le=1, description="least energy of a spike within another, as a share of the other's")
    ] = 0.05
    metrics_clips: Annotated[int, Meta(ge=50, le=5000, description="events of a cluster that metrics look at")] = 500
    noise_overlap_limit: Annotated[
        float, Meta(ge=0, le=1, description="clusters that overlap more with noise are flagged as noise")
    ] = 0.3
    noise_similarity_limit: Annotated[
        float,
        Meta(ge=0, le=1, description="low clusters whose mean is more alike to noise's own shape are flagged as noise"),
    ] = 0.93
    isolation_limit: Annotated[
        float, Meta(ge=0, le=1, description="clusters less isolated are flagged as likely multi-unit")
    ] = 0.9
    refractory_ms: Annotated[float, Meta(gt=0, description="intervals shorter than this violate refractoriness")] = 2.0
    violation_limit: Annotated[
        float,
        Meta(ge=0, le=1, description="clusters with a larger share of violations are flagged as likely multi-unit"),
    ] = 0.02

"""A million rays against an independent caster: trimesh, which asks Intel's Embree."""

import numpy as np
import pytest
from raycast_twins import cast, caster, random_gaze

from raypipe.stages import camera
from raypipe.stages.scene import boxes

trimesh = pytest.importorskip("trimesh")
embree = pytest.importorskip("trimesh.ray.ray_pyembree")
N = 1_000_000
NEAR_AN_EDGE_M = 1e-4  # embree computes in float32, and of two boxes that touch it may see the other one
CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
FACES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]


def mesh_of(table):
    """Two triangles for every face that has an area, and the box of each triangle."""
    triangles, owners = [], []
    for b, (centre, size) in enumerate(zip(table.centres, table.sizes, strict=True)):
        corners = centre + size * CORNERS
        for p, q, r, s in FACES:
            if np.linalg.norm(np.cross(corners[q] - corners[p], corners[s] - corners[p])) > 0:
                triangles += [corners[[p, q, r]], corners[[p, r, s]]]
                owners += [b, b]
    vertices = np.array(triangles).reshape(-1, 3)
    return trimesh.Trimesh(vertices, np.arange(len(vertices)).reshape(-1, 3), process=False), np.array(owners)


@pytest.mark.parametrize("revision", ["A", "C"])
def test_the_same_object_and_place_as_embree(revision):
    table = boxes(revision)
    mesh, owners = mesh_of(table)
    # Corridors only: a ray that begins inside a wall would be another question to a mesh than to a box.
    gaze, poses = random_gaze(N // 2, 5)
    clear = np.abs(np.abs(poses[:, :2]) - 5).max(axis=1) > 3.5
    gaze, poses = gaze[clear], poses[clear]
    gaze, poses = (np.resize(each, (N // 2, each.shape[1])) for each in (gaze, poses))
    gaze += np.random.default_rng(6).uniform(-300, 300, gaze.shape)  # beyond the screen too
    objects, points, _ = cast(caster(revision), gaze, poses)
    origins, directions = camera.rays(gaze, poses)
    triangle = embree.RayMeshIntersector(mesh).intersects_first(origins, directions)
    theirs = np.where(triangle >= 0, owners[triangle], -1)
    differ = np.flatnonzero(theirs != objects)
    assert len(differ) < 1e-4 * len(gaze)
    beside = np.abs(points[differ] - table.centres[theirs[differ]]) - table.sizes[theirs[differ]] / 2
    assert beside.max(initial=0) < NEAR_AN_EDGE_M
    # And in the same place: on the plane of the triangle that they name.
    same = theirs == objects
    normal = mesh.face_normals[triangle[same]]
    away = np.einsum("ij,ij->i", points[same] - mesh.triangles[triangle[same], 0], normal)
    assert np.abs(away).max() < 1e-9

"""
Planters: each puts one fault of the catalogue into a root, as crashes, power losses and hands leave them.

A planter needs a root's path and the id of its target, nothing else, so it works on synthetic roots and on those that
an engine wrote (and is stopped). It gives the node that the main finding is about; what else follows from the fault is
for the catalogue of the tests to say. ::

    overlay2.py     GCD101-116  layer dirs, link farm
    layers.py       GCD201-212  layer records
    containers.py   GCD301-310  rw layers and containers
    images.py       GCD401-402
    builds.py       GCD501-504  BuildKit
    host.py         GCD801-804  sources, stores, engines
    targets.py      finds a target of each kind in a root

GCD804 is no planter but `host.two_engines`: it lasts only while processes do.
"""

from __future__ import annotations

from typing import Final

from gcd.demo.faults import builds, containers, host, images, layers, overlay2
from gcd.demo.faults.fault import PlantedFault, Target
from gcd.model.finding import Code

_F = PlantedFault

FAULTS: Final[tuple[PlantedFault, ...]] = (
    _F("F19", Code("GCD101"), overlay2.add_layer_dir, Target.ROOT),
    _F("F19", Code("GCD101"), overlay2.add_layer_dir_upon, Target.LAYER_DIR),
    _F("F19", Code("GCD101"), overlay2.add_layer_dir_without_symlink, Target.ROOT),
    _F("F19", Code("GCD101"), overlay2.add_nascent_dir, Target.ROOT),
    _F("F19b", Code("GCD101"), overlay2.add_empty_rw_pair, Target.ROOT),
    _F("F19b", Code("GCD101"), overlay2.add_init_dir_alone, Target.ROOT),
    _F("F19c", Code("GCD102"), overlay2.add_build_dir, Target.ROOT),
    _F("F19c", Code("GCD102"), overlay2.add_build_dir_upon, Target.LAYER_DIR),
    _F("F11", Code("GCD103"), overlay2.drop_link_symlink, Target.LAYER_DIR),
    _F("F11", Code("GCD103"), overlay2.drop_link_symlink, Target.RW_DIR),
    _F("F12", Code("GCD103"), overlay2.drop_link_farm, Target.ROOT),
    _F("F12", Code("GCD103"), overlay2.empty_link_farm, Target.ROOT),
    _F("F13b", Code("GCD103"), overlay2.cite_unknown_link, Target.LAYER_DIR),
    _F("F14", Code("GCD104"), overlay2.add_dangling_symlink, Target.ROOT),
    _F("F14", Code("GCD104"), overlay2.add_stray_symlink, Target.ROOT),
    _F("F14b", Code("GCD105"), overlay2.point_link_to_another_dir, Target.LAYER_DIR),
    _F("F14b", Code("GCD105"), overlay2.point_link_outside, Target.LAYER_DIR),
    _F("F14b", Code("GCD105"), overlay2.point_link_absolutely, Target.LAYER_DIR),
    _F("F14b", Code("GCD105"), overlay2.point_link_to_itself, Target.LAYER_DIR),
    _F("F13", Code("GCD106"), overlay2.empty_link_file, Target.LAYER_DIR),
    _F("F13", Code("GCD106"), overlay2.drop_link_file, Target.LAYER_DIR),
    _F("F13", Code("GCD106"), overlay2.garble_link_file, Target.LAYER_DIR),
    _F("F13b", Code("GCD106"), overlay2.drop_link_file_and_symlink, Target.LAYER_DIR),
    _F("F15", Code("GCD107"), overlay2.drop_lower, Target.LAYER_DIR),
    _F("F15", Code("GCD107"), overlay2.drop_lower, Target.RW_DIR),
    _F("F16", Code("GCD108"), overlay2.empty_lower, Target.LAYER_DIR),
    _F("F16b", Code("GCD108"), overlay2.begin_lower_with_bare_farm, Target.LAYER_DIR),
    _F("F16b", Code("GCD108"), overlay2.cut_lower, Target.LAYER_DIR),
    _F("F16c", Code("GCD109"), overlay2.reverse_lower, Target.LAYER_DIR),
    _F("F16c", Code("GCD109"), overlay2.shorten_lower, Target.LAYER_DIR),
    _F("F17", Code("GCD110"), overlay2.drop_work_dir, Target.RW_DIR),
    _F("F18", Code("GCD111"), overlay2.drop_diff_dir, Target.LAYER_DIR),
    _F("F18", Code("GCD111"), overlay2.drop_diff_dir, Target.RW_DIR),
    _F("F12b", Code("GCD112"), overlay2.turn_link_farm_into_file, Target.ROOT),
    _F("F12b", Code("GCD112"), overlay2.turn_link_farm_into_symlink, Target.ROOT),
    _F("", Code("GCD113"), overlay2.add_probe_leftover, Target.ROOT),
    _F("F21", Code("GCD114"), overlay2.leak_mount, Target.RW_DIR, needs_root=True, undo=overlay2.unmount_leak),
    _F("", Code("GCD115"), overlay2.occupy_mountpoint, Target.RW_DIR),
    _F("F19b", Code("GCD116"), overlay2.add_filled_rw_pair, Target.ROOT),
    _F("F5", Code("GCD201"), layers.drop_layer_dir, Target.LAYER),
    _F("F1", Code("GCD202"), layers.add_empty_record, Target.ROOT),
    _F("F2", Code("GCD202"), layers.empty_record_files, Target.LAYER),
    _F("F2", Code("GCD202"), layers.drop_record_files, Target.LAYER),
    _F("F6", Code("GCD203"), layers.empty_diff_id, Target.LAYER),
    _F("F6", Code("GCD203"), layers.drop_diff_id, Target.LAYER),
    _F("F6", Code("GCD203"), layers.garble_diff_id, Target.LAYER),
    _F("F7", Code("GCD204"), layers.empty_size, Target.LAYER),
    _F("F7", Code("GCD204"), layers.drop_size, Target.LAYER),
    _F("F7", Code("GCD204"), layers.end_size_with_newline, Target.LAYER),
    _F("F8", Code("GCD205"), layers.drop_parent, Target.LAYER),
    _F("F8b", Code("GCD205"), layers.empty_parent, Target.LAYER),
    _F("F9", Code("GCD206"), layers.empty_cache_id, Target.LAYER),
    _F("F9", Code("GCD206"), layers.drop_cache_id, Target.LAYER),
    _F("F9b", Code("GCD207"), layers.share_cache_id, Target.BASE_LAYER),
    _F("F10", Code("GCD208"), layers.empty_descriptor, Target.LAYER),
    _F("F10b", Code("GCD209"), layers.cut_tar_split, Target.LAYER),
    _F("F10b", Code("GCD209"), layers.drop_tar_split, Target.LAYER),
    _F("F10b", Code("GCD209"), layers.garble_tar_split, Target.LAYER),
    _F("", Code("GCD210"), layers.forge_diff_id, Target.LAYER),
    _F("F31", Code("GCD211"), layers.add_unused_layer, Target.ROOT),
    _F("F31", Code("GCD211"), layers.add_unused_layer_upon, Target.LAYER),
    _F("F10d", Code("GCD212"), layers.drop_parent_record, Target.LAYER),
    _F("F10d", Code("GCD212"), layers.tie_chain_into_ring, Target.LAYER),
    _F("F22", Code("GCD301"), containers.empty_mount_id, Target.CONTAINER),
    _F("F22", Code("GCD301"), containers.drop_mount_id, Target.CONTAINER),
    _F("F22", Code("GCD301"), containers.garble_mount_id, Target.CONTAINER),
    _F("F23", Code("GCD302"), containers.empty_init_id, Target.CONTAINER),
    _F("F23", Code("GCD302"), containers.drop_init_id, Target.CONTAINER),
    _F("F24", Code("GCD303"), containers.drop_rw_parent, Target.CONTAINER),
    _F("F24", Code("GCD303"), containers.empty_rw_parent, Target.CONTAINER),
    _F("F24d", Code("GCD304"), containers.drop_container, Target.CONTAINER),
    _F("F24d", Code("GCD305"), containers.drop_rw_record, Target.CONTAINER),
    _F("F24b", Code("GCD306"), containers.drop_rw_dir, Target.CONTAINER),
    _F("F24b", Code("GCD306"), containers.drop_rw_dirs, Target.CONTAINER),
    _F("F24e", Code("GCD307"), containers.empty_container_config, Target.CONTAINER),
    _F("F24e", Code("GCD307"), containers.drop_container_config, Target.CONTAINER),
    _F("F24e", Code("GCD307"), containers.garble_container_config, Target.CONTAINER),
    _F("F24e", Code("GCD307"), containers.nullify_process_config, Target.CONTAINER),
    _F("F24e", Code("GCD307"), containers.empty_host_config, Target.CONTAINER),
    _F("F24f", Code("GCD308"), containers.change_container_id, Target.CONTAINER),
    _F("", Code("GCD309"), containers.mark_dead, Target.CONTAINER),
    _F("", Code("GCD309"), containers.mark_dead_and_drop_rw_layer, Target.CONTAINER),
    _F("F24c", Code("GCD310"), containers.add_build_view, Target.LAYER),
    _F("F24c", Code("GCD310"), containers.add_build_rw_layer, Target.LAYER),
    _F("F27", Code("GCD401"), images.flip_bit_of_image_config, Target.IMAGE),
    _F("F27", Code("GCD401"), images.empty_image_config, Target.IMAGE),
    _F("F28", Code("GCD402"), images.drop_top_layer_record, Target.IMAGE),
    _F("F38", Code("GCD501"), builds.spoil_build_snapshots, Target.ROOT),
    _F("F38", Code("GCD501"), builds.spoil_build_records, Target.ROOT),
    _F("F38", Code("GCD501"), builds.spoil_build_leases, Target.ROOT),
    _F("F38", Code("GCD501"), builds.cut_build_snapshots, Target.ROOT),
    _F("", Code("GCD502"), builds.drop_build_dir, Target.BUILD_DIR),
    _F("", Code("GCD503"), builds.forget_build_record, Target.BUILD_RECORD),
    _F("", Code("GCD504"), builds.drop_build_snapshots, Target.ROOT),
    _F("", Code("GCD504"), builds.drop_build_databases, Target.ROOT),
    _F("", Code("GCD504"), builds.empty_build_snapshots, Target.ROOT),
    _F("", Code("GCD801"), host.turn_rw_layers_into_file, Target.ROOT),
    _F("", Code("GCD801"), host.turn_layers_into_symlink, Target.ROOT),
    _F("", Code("GCD801"), host.turn_containers_into_file, Target.ROOT),
    _F("", Code("GCD801"), host.turn_image_configs_into_file, Target.ROOT),
    _F("F41", Code("GCD802"), host.add_dormant_driver, Target.ROOT),
    _F("F41", Code("GCD802"), host.add_dormant_user_namespace, Target.ROOT),
    _F("F38", Code("GCD803"), host.spoil_volume_database, Target.ROOT),
)

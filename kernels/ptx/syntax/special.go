package syntax

var specials = map[string]bool{
	"%tid.x": true, "%tid.y": true, "%tid.z": true, "%ntid.x": true, "%ntid.y": true, "%ntid.z": true,
	"%ctaid.x": true, "%ctaid.y": true, "%ctaid.z": true, "%nctaid.x": true, "%nctaid.y": true, "%nctaid.z": true,
	"%laneid": true, "%warpid": true, "%nwarpid": true, "%clock": true, "%clock64": true, "%smid": true, "%dynamic_smem_size": true,
	"%lanemask_lt": true, "%lanemask_le": true, "%lanemask_eq": true, "%lanemask_ge": true, "%lanemask_gt": true,
	"%cluster_ctarank": true, "%cluster_nctarank": true,
	"%cluster_ctaid.x": true, "%cluster_ctaid.y": true, "%cluster_ctaid.z": true,
	"%cluster_nctaid.x": true, "%cluster_nctaid.y": true, "%cluster_nctaid.z": true,
	"%clusterid.x": true, "%clusterid.y": true, "%clusterid.z": true, "%nclusterid.x": true, "%nclusterid.y": true, "%nclusterid.z": true,
}

func isSpecial(name string) bool { return specials[name] }

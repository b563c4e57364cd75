"""The architectures of timm that the zoo reads: a few of each of its families."""

__all__ = ["TIMM"]

TIMM = tuple(
    """
    resnet18 resnet26d resnet50d resnetv2_50 resnetv2_50x1_bit resnext50_32x4d seresnet18 seresnext26d_32x4d
    seresnextaa101d_32x8d skresnet18 skresnext50_32x4d resnest14d resnest26d res2net50_26w_4s res2next50 resnetaa50 resnetblur18
    resnetrs50 ecaresnet26t ecaresnetlight gcresnet33ts lambda_resnet26t halonet26t bat_resnext26ts botnet26t_256
    eca_botnext26ts_256 eca_resnext26ts sehalonet33ts seresnet33ts gcresnext26ts resnet33ts resnet61q wide_resnet50_2 resnet10t
    test_resnet test_vit test_convnext test_byobnet test_efficientnet test_nfnet densenet121 densenetblur121d vgg11 vgg11_bn
    inception_v3 inception_v4 inception_resnet_v2 xception41 xception65 legacy_xception legacy_seresnet18 legacy_senet154 dla34
    dla60_res2net dpn48b dpn68 hrnet_w18_small selecsls42 vovnet39a ese_vovnet19b_dw cspresnet50 cspresnext50 cspdarknet53
    darknet53 darknetaa53 cs3darknet_s cs3sedarknet_l nasnetalarge pnasnet5large tresnet_m rexnet_100 rexnetr_200 regnetx_002
    regnety_002 regnetz_b16 regnetz_040 repvgg_a0 mobileone_s0 repghostnet_050 ghostnet_050 ghostnetv2_100 ghostnetv3_050
    hardcorenas_a mobilenetv1_100 mobilenetv2_050 mobilenetv3_small_050 mobilenetv3_large_100 mobilenetv4_conv_small
    mobilenetv4_hybrid_medium mnasnet_050 semnasnet_075 fbnetc_100 fbnetv3_b lcnet_050 tinynet_e mixnet_s spnasnet_100
    efficientnet_b0 efficientnet_lite0 efficientnet_es efficientnetv2_rw_t tf_efficientnet_b0 tf_efficientnetv2_b0
    gc_efficientnetv2_rw_t efficientvit_b0 efficientvit_m0 efficientformer_l1 efficientformerv2_s0 convnext_atto convnext_tiny
    convnextv2_atto convmixer_768_32 coatnet_nano_rw_224 coatnet_0_rw_224 coatnext_nano_rw_224 maxvit_nano_rw_256
    maxvit_tiny_tf_224 maxxvit_rmlp_nano_rw_256 coat_tiny convit_tiny crossvit_tiny_240 cait_xxs24_224 deit_tiny_patch16_224
    deit_tiny_distilled_patch16_224 deit3_small_patch16_224 vit_tiny_patch16_224 vit_small_patch32_224 vit_base_patch32_clip_224
    vit_small_patch16_18x2_224 vit_tiny_r_s16_p8_224 vit_relpos_small_patch16_224 vit_srelpos_small_patch16_224
    vit_medium_patch16_gap_240 vit_little_patch16_reg4_gap_256 vit_small_patch14_dinov2 vitamin_small_224 beit_base_patch16_224
    beitv2_base_patch16_224 eva02_tiny_patch14_224 flexivit_small xcit_nano_12_p16_224 tnt_s_legacy_patch16_224 visformer_tiny
    volo_d1_224 twins_pcpvt_small twins_svt_small pvt_v2_b0 pit_ti_224 pit_xs_distilled_224 nest_tiny levit_128s levit_conv_128s
    swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_ns_224 swin_s3_tiny_224 davit_tiny focalnet_tiny_srf
    gcvit_xxtiny hiera_tiny_224 mvitv2_tiny edgenext_xx_small mobilevit_xxs mobilevitv2_050 fastvit_t8 fastvit_sa12
    poolformer_s12 poolformerv2_s12 caformer_s18 convformer_s18 inception_next_atto starnet_s1 mambaout_femto hgnet_tiny
    hgnetv2_b0 rdnet_tiny repvit_m0_9 repvit_m1 tiny_vit_5m_224 shvit_s1 sequencer2d_s mixer_s16_224 gmixer_12_224 gmlp_ti16_224
    resmlp_12_224 nextvit_small sebotnet33ts_256 nf_resnet26 nf_regnet_b0 nf_ecaresnet26 dm_nfnet_f0 nfnet_l0 eca_nfnet_l0
    samvit_base_patch16 fasternet_t0 swiftformer_xs mobilenet_edgetpu_100 aimv2_large_patch14_224 naflexvit_base_patch16_gap
    csatv2
    """.split()
)

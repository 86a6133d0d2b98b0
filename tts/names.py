"""Words that the Mandarin voice would say wrong: place names first, then words of warnings.

The voice takes its pinyin from jieba's words and pypinyin's tables; what stands here was wrong there, or
is wrong as soon as the word stands alone (jieba 0.42, pypinyin 0.55; ``tests/unit/test_tts_names.py``
looks at the pinyin that the voice is handed). Always on; a county's own readings go before these.

Sources: names as in 现代汉语词典 (7th edition) and on the maps of the Ministry of Civil Affairs
(国家地名信息库); where local and national speech differ (百色, 解州), the national form. Words:
现代汉语词典, 普通话异读词审音表 (1985).

A line is a pattern (its lookarounds say where the word is meant) and one toned syllable per character.
"""

from __future__ import annotations

from typing import Final

_TITLES: Final = "县市区镇乡村局队组校部省州会社首院处科班站厂所团连排家店船机车生成增助厅司秘行"
_COUNTS: Final = "零一二两三四五六七八九十百千万几数"

NAMES: Final = rf"""
洪洞        hong2 tong2
浚县        xun4 xian4
宕昌        tan4 chang1
(?<![名菜订清账简])单县(?!级)    shan4 xian4
单城镇      shan4 cheng2 zhen4
大城县      dai4 cheng2 xian4
长垣        chang2 yuan2
都(?=(?:昌|安|兰|匀|江堰)[县市瑶]|匀|江堰)   du1
(?<=[于望武丰宜昌新花尧殷郫乐])都(?=[县市区镇])   du1
召陵        shao4 ling2
佛(?=[冈坪]县)   fo2
(?<![今明昨后每整白])天长(?=市|境)   tian1 chang2
长(?=清区)  chang2
民乐(?=县|城|境)   min2 le4
曲靖        qu3 jing4
曲麻莱      qu3 ma2 lai2
曲水(?=县)   qu3 shui3
曲松(?=县)   qu3 song1
阳曲(?=县|镇|境)   yang2 qu3
相(?=[城山]区)   xiang4
长(?=(?:武|治|顺|阳|岛|海|白|泰|宁|葛|岭|丰|乐|汀|兴|寿|安|春|沙)[县市区镇自山])   chang2
(?<![{_TITLES}])长(?=武|治|顺|阳|岛|海|白|泰|宁|葛|岭|丰)   chang2
朝阳        chao2 yang2
天台(?=县|山|城|境)   tian1 tai1
荥经        ying2 jing1
(?<![主责担就信])任县(?!级)      ren2 xian4
任泽        ren2 ze2
任丘        ren2 qiu1
乐陵        lao4 ling2
乐亭        lao4 ting2
(?<![零一二三四五六七八九十百第周初])六合(?=区|县|经|城)   lu4 he2
(?<![零一二三四五六七八九十百第周初])六安(?=市|城|地区|金|裕|霍|站|北|境|火车|中心|经|气象|全市|$|\W)  lu4 an1
筠连        jun1 lian2
郫都        pi2 du1
阆中        lang4 zhong1
什邡        shi2 fang1
涡阳        guo1 yang2
涡河        guo1 he2
余干(?=县|城|境)   yu2 gan1
新干(?=县|城|境)   xin1 gan4
会稽        kuai4 ji1
舟曲        zhou1 qu3
迭部        die2 bu4
碌曲        lu4 qu3
玛曲        ma3 qu3
那曲        na4 qu3
曲告纳      qu3 gao4 na4
曲瓦        qu3 wa3
崆峒        kong1 tong2
华阴        hua4 yin1
华州(?=区|市|城|境)   hua4 zhou1
(?<![中])华县(?!级)   hua4 xian4
华山(?=景|镇|站|风|脚|下|上|市|区|索|论)   hua4 shan1
伽师        jia1 shi1
塔什库尔干  ta3 shi2 ku4 er3 gan1
乌什(?=县|城|境)   wu1 shi2
阿勒泰      a1 le4 tai4
桦甸        hua4 dian4
珲春        hun2 chun1
穆棱        mu4 ling2
绥棱        sui2 ling2
(?:(?<=[省市州区、，。：]) ?|^)应县(?!级)   ying4 xian4
繁峙        fan2 shi4
解州镇      xie4 zhou1 zhen4
漯河        luo4 he2
葛洲坝      ge3 zhou1 ba4
济源        ji3 yuan2
闵行        min3 hang2
曾家(?=[镇乡村湾山坝沟岩寨坪])   zeng1 jia1
参窝        shen1 wo1
圩(?=[日场镇])   xu1
(?<=[赶趁歇])圩   xu1
台州        tai1 zhou1
丽水        li2 shui3
蚌埠        beng4 bu4
番禺        pan1 yu2
荥阳        xing2 yang2
铅山(?=县|城|境|$|\W)   yan2 shan1
鄱阳        po2 yang2
东阿        dong1 e1
犍为        qian2 wei2
监利        jian4 li4
枞阳        zong1 yang2
泌阳        bi4 yang2
尉犁        yu4 li2
蔚县        yu4 xian4
莘县        shen1 xian4
歙县        she4 xian4
黟县        yi1 xian4
隰县        xi2 xian4
牟平        mu4 ping2
中牟        zhong1 mu4
大埔(?=县|境|城)   da4 bu4
耒阳        lei3 yang2
亳州        bo2 zhou1
盱眙        xu1 yi2
莎车        sha1 che1
井陉        jing3 xing2
乐清        yue4 qing1
"""
"""Of places."""

WORDS: Final = rf"""
(?<![{_TITLES}])长(?=[{_COUNTS}])   chang2
(?<![{_TITLES}])长(?=[约达近宽]|度|时间|期)   chang2
(?<=[全总周超延])长(?![官者])   chang2
落下        luo4 xia4
没(?=过(?:[膝腰胸头脚踝肩车路桥屋]|大腿|小腿|房)|顶)   mo4
(?<=[涨升落跑走来退流])得(?=[很快太更非])   de5
(?<=迅速|安全|尽快|有序|冷静|认真|仔细|及时|主动|自觉|不断|持续|缓慢)地(?![带点方区势域段形质处])   de5
(?<=[{_COUNTS}])只(?=[羊牛鸡鸭狗猪船猴手动])   zhi1
系(?=[好紧上牢](?:安全|头盔|救生|绳|缆|帽))   ji4
(?<=[畜猪羊牛棚马])圈   juan4
流血        liu2 xue4
撒(?=盐|融|药|石灰|沙)   sa3
处(?=警|在)   chu3
(?<=[\u3400-\u9fff])(?<![因请以])为(?!了|您|你|大家|群众|村民|居民|何|此|谁|其|他|我|受|老|孩|防|确)   wei2
"""
"""Of warnings."""

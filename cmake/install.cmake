# Installs the headers and a package: find_package(facellava) gives facellava::core and whatever its dependencies allow.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

foreach(part IN LISTS FACELLAVA_TARGETS)
  list(APPEND facellava_installed facellava_${part})
endforeach()
list(REMOVE_ITEM facellava_installed facellava_media_video)
install(TARGETS ${facellava_installed} EXPORT facellava-targets)
if(TARGET facellava_media_video)  # on its own: a machine that uses the package may lack FFmpeg's libraries
  install(TARGETS facellava_media_video EXPORT facellava-media_video)
  install(EXPORT facellava-media_video NAMESPACE facellava:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/facellava)
endif()
install(DIRECTORY include/facellava DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT facellava-targets NAMESPACE facellava:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/facellava)
configure_package_config_file(cmake/facellava-config.cmake.in "${PROJECT_BINARY_DIR}/facellava-config.cmake"
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/facellava)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/facellava-config-version.cmake" COMPATIBILITY SameMinorVersion
                                 ARCH_INDEPENDENT)
install(FILES cmake/facellava_cuda.cmake "${PROJECT_BINARY_DIR}/facellava-config.cmake" "${PROJECT_BINARY_DIR}/facellava-config-version.cmake"
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/facellava)
